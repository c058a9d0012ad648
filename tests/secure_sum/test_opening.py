"""The sum is exact, its noise has the planned variance, and it opens with the whole roster only."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.common.errors import ConfigError
from fedloom.privacy.mechanisms.noisy_sum import noisy_sum
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum import RequestMask, from_grid, grid_step_of, masked_share, open_sum

DIGEST = "ab" * 32
SIZE = 10_000


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 10), size=st.integers(1, 300), seed=st.integers(0, 2**32), data=st.data()
)
def test_the_sum_is_exact(sites, count, size, seed, data):
    """Negative numbers, every roster, any order of the answers; no noise."""
    made = sites(count)
    rng = np.random.default_rng(seed)
    shares = {name: rng.integers(-(2**52), 2**52, size) for name in made.roster}
    masked = made.mask(shares)
    order = data.draw(st.permutations(list(masked)))
    got = open_sum({name: masked[name] for name in order}, roster=order)
    assert (got == sum(shares.values())).all()


def test_arrays_keep_their_shape(sites):
    made = sites(3)
    shares = {name: np.full((2, 3), -7) for name in made.roster}
    got = open_sum(made.mask(shares), roster=made.roster)
    assert got.shape == (2, 3) and (got == -21).all()


def test_a_share_is_masked_in_its_place(sites):
    made = sites(3)
    share = np.arange(1000)
    masked = masked_share(
        share,
        RequestMask(
            site="site-00",
            roster=made.roster,
            private_key=made.keys["site-00"],
            request_digest=DIGEST,
            colluding=1,
        ),
    )
    assert masked is share and not (share == np.arange(1000)).any()


@pytest.mark.parametrize("share", [np.zeros(4), np.zeros(4, np.int32), np.zeros((4, 4), int).T[:2]])
def test_a_share_of_another_kind_is_refused(sites, share):
    made = sites(3)
    with pytest.raises(ConfigError, match="64-bit"):
        masked_share(
            share,
            RequestMask(
                site="site-00",
                roster=made.roster,
                private_key=made.keys["site-00"],
                request_digest=DIGEST,
                colluding=1,
            ),
        )


def planned(noise: np.ndarray, std: float) -> bool:
    """Whether `noise` has the variance std^2: chi-square, false alarm once in 10^6."""
    law = scipy.stats.chi2(noise.size)
    statistic = float((noise**2).sum() / std**2)
    return bool(law.ppf(5e-7) < statistic < law.isf(5e-7))


@pytest.mark.parametrize("scale, accepted", [(1.0, True), (0.5, False)])
@pytest.mark.parametrize("roster", range(3, 11))
def test_the_opened_noise_has_the_planned_variance(sites, roster, scale, accepted):
    """sigma^2 r / (r - t) in all, sigma^2 without the colluding sites' shares; seeds are fixed."""
    made = sites(roster)
    grid_step = grid_step_of(2.0, roster, l2_norm=1.0, length=SIZE, integer_valued=True)
    totals = {name: np.full(SIZE, 5 * number) for number, name in enumerate(made.roster)}
    for colluding in range(1, roster - 1):
        source = NoiseSource.from_insecure_seed(100 * roster + colluding)
        shares = {
            name: noisy_sum(
                total,
                l2_norm=1.0,
                noise_multiplier=2.0 * scale,
                noise=source,
                grid_step=grid_step,
                num_shares=roster - colluding,
            )
            for name, total in totals.items()
        }
        opened = from_grid(open_sum(made.mask(shares), roster=made.roster), grid_step)
        everything = opened - sum(totals.values())
        assert planned(everything, 2.0 * math.sqrt(roster / (roster - colluding))) is accepted
        known = sum(shares[name] * grid_step - totals[name] for name in list(shares)[:colluding])
        assert planned(everything - known, 2.0) is accepted


def test_a_sum_opens_with_the_whole_roster_alone(sites):
    made = sites(4)
    masked = made.mask({name: np.arange(5) for name in made.roster})
    three = {name: masked[name] for name in list(masked)[:3]}
    with pytest.raises(ConfigError, match="new attempt"):
        open_sum(three, roster=made.roster)
    with pytest.raises(ConfigError, match="new attempt"):
        open_sum(masked, roster=list(three))
    with pytest.raises(ConfigError, match="new attempt"):
        open_sum({}, roster=[])
    masked["site-02"] = masked["site-02"][:4]
    with pytest.raises(ConfigError, match="one shape"):
        open_sum(masked, roster=made.roster)


def is_uniform(words: np.ndarray) -> bool:
    """Chi-square on the top byte, false alarm once in 10^4."""
    top = words.view(np.uint64) >> np.uint64(56)
    counts = np.bincount(top.astype(np.int64), minlength=256)
    return bool(scipy.stats.chisquare(counts).pvalue > 1e-4)


@pytest.mark.parametrize(
    "broken, uniform",
    [("nothing", False), ("digest", True), ("roster", True), ("key", True), ("missing", True)],
)
def test_what_does_not_belong_together_opens_to_uniform_noise(sites, broken, uniform):
    """Swapped keys, another digest, another roster, a missing share: nothing near the truth."""
    made = sites(4)
    names = list(made.roster)
    shares = {name: np.full(SIZE, 3) for name in names}
    masked = made.mask(shares)
    if broken == "digest":
        masked["site-00"] = made.mask(shares, digest="cd" * 32)["site-00"]
    elif broken == "roster":
        masked["site-00"] = made.mask({name: shares[name] for name in names[:3]})["site-00"]
    elif broken == "key":
        # The others hold another public key of this site than that of its home.
        other = X25519PrivateKey.generate()
        masked["site-00"] = masked_share(
            shares["site-00"].copy(),
            RequestMask(
                site="site-00",
                roster={**made.roster, "site-00": other.public_key().public_bytes_raw().hex()},
                private_key=other,
                request_digest=DIGEST,
                colluding=1,
            ),
        )
    elif broken == "missing":
        masked["site-00"] = np.zeros(SIZE, np.int64)
    opened = sum(masked[name] for name in names)
    assert is_uniform(opened) is uniform
    assert bool((opened == 12).all()) is not uniform
