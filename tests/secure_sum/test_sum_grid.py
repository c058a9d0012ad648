"""The grid: fine enough, exact for counts, and rounding moves neighbours as far as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.errors import ConfigError
from fedloom.privacy.secure_sum.sum_grid import (
    MAX_SITES,
    from_grid,
    grid_step_of,
    sensitivity_on_grid,
    to_grid,
)

UNITS = st.integers(-20, 20).map(lambda power: 2.0**power)
NORMS = st.floats(1e-6, 1e6)
LENGTHS = st.integers(1, 10**9)


def allowed(
    grid_step: float, std: float, num_sites: int, l2_norm: float, length: int, integer_valued: bool
):
    """What a unit must do, written down once more."""
    spans = std / math.sqrt(num_sites) >= 2**10 * grid_step
    return spans and (
        grid_step <= 1.0 if integer_valued else grid_step * math.sqrt(length) <= l2_norm / 2**10
    )


@given(
    multiplier=st.floats(0.05, 1e3),
    num_sites=st.integers(1, MAX_SITES),
    l2_norm=NORMS,
    length=LENGTHS,
    integer_valued=st.booleans(),
)
def test_the_unit_is_the_largest_power_of_two_that_is_fine_enough(
    multiplier, num_sites, l2_norm, length, integer_valued
):
    std = multiplier * l2_norm
    asked = (std, num_sites, l2_norm, length, integer_valued)
    grid_step = grid_step_of(
        std, num_sites, l2_norm=l2_norm, length=length, integer_valued=integer_valued
    )
    assert math.frexp(grid_step)[0] == 0.5
    assert allowed(grid_step, *asked) and not allowed(2 * grid_step, *asked)
    grown = sensitivity_on_grid(l2_norm, grid_step, length, integer_valued)
    assert grown == l2_norm if integer_valued else l2_norm < grown <= l2_norm * (1 + 2**-10)


@pytest.mark.parametrize(
    "std, num_sites, l2_norm, length",
    [
        (math.nan, 3, 1.0, 1),
        (math.inf, 3, 1.0, 1),
        (-1.0, 3, 1.0, 1),
        (1.0, 0, 1.0, 1),
        (1.0, MAX_SITES + 1, 1.0, 1),
        (1.0, 3, 0.0, 1),
        (1.0, 3, math.inf, 1),
        (1.0, 3, 1.0, 0),
        (1e-15, 3, 1.0, 1),
        (1e15, 3, 1e-3, 1),
    ],
)
@pytest.mark.parametrize("integer_valued", [True, False])
def test_what_does_not_fit_a_grid_is_refused(std, num_sites, l2_norm, length, integer_valued):
    with pytest.raises(ConfigError):
        grid_step_of(std, num_sites, l2_norm=l2_norm, length=length, integer_valued=integer_valued)


@pytest.mark.parametrize("grid_step", [0.0, -1.0, 3.0, math.nan, math.inf, 2.0**-60, 2.0**60, 1])
def test_only_powers_of_two_are_steps(grid_step):
    with pytest.raises(ConfigError, match="power of two"):
        to_grid([1.0], grid_step)
    with pytest.raises(ConfigError, match="power of two"):
        from_grid(np.zeros(1, np.int64), grid_step)
    with pytest.raises(ConfigError, match="power of two"):
        sensitivity_on_grid(1.0, grid_step, 1, integer_valued=False)


def test_counts_have_a_step_of_at_most_one():
    with pytest.raises(ConfigError, match="at most 1"):
        sensitivity_on_grid(1.0, 2.0, 1, integer_valued=True)


@given(counts=st.lists(st.integers(-(2**40), 2**40), min_size=1), power=st.integers(-12, 0))
def test_counts_are_exact_multiples(counts, power):
    grid_step = 2.0**power
    exact = np.array(counts, dtype=np.int64)
    got = to_grid(exact, grid_step)
    assert (got == exact * 2**-power).all()
    assert (from_grid(got, grid_step) == exact).all()
    assert (to_grid(exact.astype(np.float64), grid_step) == got).all()


@given(
    pairs=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=True), st.floats(-50.0, 50.0, width=32)
        ),
        min_size=1,
        max_size=20,
    ),
    grid_step=UNITS,
)
def test_rounding_moves_neighbours_no_further_than_the_inflation(pairs, grid_step):
    """Clamped or not: one grid unit a coordinate at most, whatever a record changes."""
    before = np.array([value for value, _ in pairs])
    change = np.array([moved for _, moved in pairs])
    l2_norm = max(float(np.linalg.norm(change)), 1e-6)
    # What floating point loses in a huge sum is not the grid's. Fine grids clamp below 2^40.
    before = np.clip(before, -(2.0**40), 2.0**40)
    moved = from_grid(to_grid(before + change, grid_step) - to_grid(before, grid_step), grid_step)
    bound = sensitivity_on_grid(l2_norm, grid_step, len(pairs), integer_valued=False)
    assert np.linalg.norm(moved) <= bound * (1 + 1e-9) + 1e-3


def test_rounding_does_move_neighbours_apart():
    """Without the inflation the bound would be wrong: 100 coordinates cross a border together."""
    before = np.full(100, 0.4)
    change = np.full(100, 0.2)
    moved = np.linalg.norm(to_grid(before + change, 1.0) - to_grid(before, 1.0))
    assert (
        np.linalg.norm(change)
        < moved
        <= sensitivity_on_grid(np.linalg.norm(change), 1.0, 100, False)
    )


@pytest.mark.parametrize("grid_step", [2.0**-20, 1.0, 4.0])
def test_a_box_holds_everything(grid_step):
    odd = np.array([np.nan, np.inf, -np.inf, 1.7e308, -1.7e308])
    assert to_grid(odd, grid_step).tolist() == [0, 2**52, -(2**52), 2**52, -(2**52)]
    most = np.array([2**63 - 1, -(2**63)], dtype=np.int64)
    assert (np.abs(to_grid(most, grid_step)) <= 2**52).all()


@settings(max_examples=50)
@given(total=st.integers(-(2**62), 2**62), rounds=st.integers(-3, 3), grid_step=UNITS)
def test_a_sum_is_centred_modulo_2_to_the_64(total, rounds, grid_step):
    word = (total + rounds * 2**64) % 2**64
    got = from_grid(np.array([word], dtype=np.uint64), grid_step)
    assert got[0] == float(total) * grid_step
    assert from_grid(np.array([total], dtype=np.int64), grid_step)[0] == got[0]


def test_only_64_bit_integers_are_sums():
    with pytest.raises(ConfigError, match="64-bit"):
        from_grid(np.zeros(2, np.int32), 1.0)
