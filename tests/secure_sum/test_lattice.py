"""The grid: fine enough, exact for counts, and rounding moves neighbours as far as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.errors import ConfigError
from fedloom.privacy.secure_sum.lattice import (
    MOST_SITES,
    from_lattice,
    inflated,
    to_lattice,
    unit_of,
)

UNITS = st.integers(-20, 20).map(lambda power: 2.0**power)
NORMS = st.floats(1e-6, 1e6)
LENGTHS = st.integers(1, 10**9)


def allowed(unit: float, std: float, num_sites: int, l2_norm: float, length: int, whole: bool):
    """What a unit must do, written down once more."""
    spans = std / math.sqrt(num_sites) >= 2**10 * unit
    return spans and (unit <= 1.0 if whole else unit * math.sqrt(length) <= l2_norm / 2**10)


@given(
    multiplier=st.floats(0.05, 1e3),
    num_sites=st.integers(1, MOST_SITES),
    l2_norm=NORMS,
    length=LENGTHS,
    whole=st.booleans(),
)
def test_the_unit_is_the_largest_power_of_two_that_is_fine_enough(
    multiplier, num_sites, l2_norm, length, whole
):
    std = multiplier * l2_norm
    asked = (std, num_sites, l2_norm, length, whole)
    unit = unit_of(std, num_sites, l2_norm=l2_norm, length=length, whole=whole)
    assert math.frexp(unit)[0] == 0.5
    assert allowed(unit, *asked) and not allowed(2 * unit, *asked)
    grown = inflated(l2_norm, unit, length, whole)
    assert grown == l2_norm if whole else l2_norm < grown <= l2_norm * (1 + 2**-10)


@pytest.mark.parametrize(
    "std, num_sites, l2_norm, length",
    [
        (math.nan, 3, 1.0, 1),
        (math.inf, 3, 1.0, 1),
        (-1.0, 3, 1.0, 1),
        (1.0, 0, 1.0, 1),
        (1.0, MOST_SITES + 1, 1.0, 1),
        (1.0, 3, 0.0, 1),
        (1.0, 3, math.inf, 1),
        (1.0, 3, 1.0, 0),
        (1e-15, 3, 1.0, 1),
        (1e15, 3, 1e-3, 1),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_what_does_not_fit_a_grid_is_refused(std, num_sites, l2_norm, length, whole):
    with pytest.raises(ConfigError):
        unit_of(std, num_sites, l2_norm=l2_norm, length=length, whole=whole)


@pytest.mark.parametrize("unit", [0.0, -1.0, 3.0, math.nan, math.inf, 2.0**-60, 2.0**60, 1])
def test_only_powers_of_two_are_units(unit):
    with pytest.raises(ConfigError, match="power of two"):
        to_lattice([1.0], unit)
    with pytest.raises(ConfigError, match="power of two"):
        from_lattice(np.zeros(1, np.int64), unit)
    with pytest.raises(ConfigError, match="power of two"):
        inflated(1.0, unit, 1, whole=False)


def test_counts_have_a_unit_of_at_most_one():
    with pytest.raises(ConfigError, match="at most 1"):
        inflated(1.0, 2.0, 1, whole=True)


@given(counts=st.lists(st.integers(-(2**40), 2**40), min_size=1), power=st.integers(-12, 0))
def test_counts_are_exact_multiples(counts, power):
    unit = 2.0**power
    exact = np.array(counts, dtype=np.int64)
    got = to_lattice(exact, unit)
    assert (got == exact * 2**-power).all()
    assert (from_lattice(got, unit) == exact).all()
    assert (to_lattice(exact.astype(np.float64), unit) == got).all()


@given(
    pairs=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=True), st.floats(-50.0, 50.0, width=32)
        ),
        min_size=1,
        max_size=20,
    ),
    unit=UNITS,
)
def test_rounding_moves_neighbours_no_further_than_the_inflation(pairs, unit):
    """Clamped or not: one grid unit a coordinate at most, whatever a record changes."""
    before = np.array([value for value, _ in pairs])
    change = np.array([moved for _, moved in pairs])
    l2_norm = max(float(np.linalg.norm(change)), 1e-6)
    # What floating point loses in a huge sum is not the grid's. Fine grids clamp below 2^40.
    before = np.clip(before, -(2.0**40), 2.0**40)
    moved = from_lattice(to_lattice(before + change, unit) - to_lattice(before, unit), unit)
    bound = inflated(l2_norm, unit, len(pairs), whole=False)
    assert np.linalg.norm(moved) <= bound * (1 + 1e-9) + 1e-3


def test_rounding_does_move_neighbours_apart():
    """Without the inflation the bound would be wrong: 100 coordinates cross a border together."""
    before = np.full(100, 0.4)
    change = np.full(100, 0.2)
    moved = np.linalg.norm(to_lattice(before + change, 1.0) - to_lattice(before, 1.0))
    assert np.linalg.norm(change) < moved <= inflated(np.linalg.norm(change), 1.0, 100, False)


@pytest.mark.parametrize("unit", [2.0**-20, 1.0, 4.0])
def test_a_box_holds_everything(unit):
    odd = np.array([np.nan, np.inf, -np.inf, 1.7e308, -1.7e308])
    assert to_lattice(odd, unit).tolist() == [0, 2**52, -(2**52), 2**52, -(2**52)]
    most = np.array([2**63 - 1, -(2**63)], dtype=np.int64)
    assert (np.abs(to_lattice(most, unit)) <= 2**52).all()


@settings(max_examples=50)
@given(total=st.integers(-(2**62), 2**62), rounds=st.integers(-3, 3), unit=UNITS)
def test_a_sum_is_centred_modulo_2_to_the_64(total, rounds, unit):
    word = (total + rounds * 2**64) % 2**64
    got = from_lattice(np.array([word], dtype=np.uint64), unit)
    assert got[0] == float(total) * unit
    assert from_lattice(np.array([total], dtype=np.int64), unit)[0] == got[0]


def test_only_64_bit_integers_are_sums():
    with pytest.raises(ConfigError, match="64-bit"):
        from_lattice(np.zeros(2, np.int32), 1.0)
