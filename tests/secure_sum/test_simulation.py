"""What a coordinator holds of two honest sites could be made up from their sum alone.

The coordinator here colludes with every site but two: with their exchange keys it strips all
masks but the one that the two honest sites share. The simulator has nothing but the sum of the
honest shares: it draws one share uniformly and takes the other from the sum. Whoever could tell
the two apart would learn more than the sum. The distinguisher below knows the honest shares
themselves, and looks at several requests at once. Keys of sites are random; every test makes a
fixed number of chi-square tests at 10^-6 in all: a false alarm comes once in a million runs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.secure_sum import RequestMask, masked_share

SIZE = 60_000
ALARM = 1e-6
HONEST = ("site-00", "site-01")
DIGESTS = ("ab" * 32, "cd" * 32)
Shares = dict[str, np.ndarray]
Masking = Callable[..., np.ndarray]


def honest_shares(seed: int) -> Shares:
    """Two sites' noised counts: small numbers, as shares are."""
    source = NoiseSource.from_insecure_seed(seed)
    return {
        name: np.rint(source.normal(SIZE, 2000.0)).astype(np.int64) + 5000 * (number + 1)
        for number, name in enumerate(HONEST)
    }


def proper(made, shares: Shares, name: str, digest: str) -> np.ndarray:
    return masked_share(
        shares[name].copy(),
        RequestMask(
            site=name,
            roster=made.roster,
            private_key=made.keys[name],
            request_digest=digest,
            colluding=1,
        ),
    )


def without_pair(made, shares: Shares, name: str, digest: str) -> np.ndarray:
    """A site that forgets the other honest one: its share lies open."""
    other = HONEST[1 - HONEST.index(name)]
    bits = proper(made, shares, name, digest).view(np.uint64)
    return (bits - made.pair(name, other, digest, SIZE)).view(np.int64)


def of_32_bits(made, shares: Shares, name: str, digest: str) -> np.ndarray:
    """Masks of half a word, as of a sum modulo 2^32 on numbers of 64 bits."""
    words = made.pair(HONEST[0], HONEST[1], digest, SIZE) & np.uint64(0xFFFFFFFF)
    sign = words if name == HONEST[0] else -words
    bits = without_pair(made, shares, name, digest).view(np.uint64)
    return (bits + sign).view(np.int64)


def of_one_word(made, shares: Shares, name: str, digest: str) -> np.ndarray:
    """A stream that repeats one word."""
    words = made.pair(name, HONEST[1 - HONEST.index(name)], digest, SIZE)
    return (without_pair(made, shares, name, digest).view(np.uint64) + words[0]).view(np.int64)


def of_every_request(made, shares: Shares, name: str, digest: str) -> np.ndarray:
    """The same mask for every request."""
    words = made.pair(name, HONEST[1 - HONEST.index(name)], DIGESTS[0], SIZE)
    return (without_pair(made, shares, name, digest).view(np.uint64) + words).view(np.int64)


def view(made, shares: Shares, masking: Masking, digest: str) -> Shares:
    """What the coordinator holds of the honest sites, less every mask that it can compute."""
    seen = {}
    for name in HONEST:
        bits = masking(made, shares, name, digest).view(np.uint64)
        for other in made.roster:
            if other not in HONEST:
                bits = bits + made.pair(other, name, digest, SIZE)
        seen[name] = bits.view(np.int64)
    return seen


def simulated(total: np.ndarray, rng: np.random.Generator) -> Shares:
    """The same made up from the sum of the honest shares."""
    first = rng.integers(0, 2**64, SIZE, dtype=np.uint64)
    return {HONEST[0]: first.view(np.int64), HONEST[1]: (total.view(np.uint64) - first).view("i8")}


def features(views: list[Shares], shares: list[Shares]) -> list[np.ndarray]:
    """Small whole numbers that tell a view from a made-up one, if anything leaks."""
    found = []
    for name in HONEST:
        words = [seen[name].view(np.uint64) for seen in views]
        secret = [of[name].view(np.uint64) for of in shares]
        for word, known in zip(words, secret, strict=True):
            octets = word.view(np.uint8).reshape(-1, 8)
            found.extend(octets[:, place] for place in range(8))
            # Against the share itself, and against the share before it.
            found.append((word - known) & np.uint64(0xFF))
            found.append((word >> np.uint64(60) << np.uint64(4)) | (known & np.uint64(0xF)))
            found.append(np.diff(word) & np.uint64(0xFF))
        found.append((words[0] - words[1]) >> np.uint64(56))
        found.append((words[0] - secret[0] - words[1] + secret[1]) & np.uint64(0xFF))
    return found


def told_apart(real: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Chi-square of two samples for each feature, Bonferroni."""
    smallest = 1.0
    for mine, yours in zip(real, other, strict=True):
        counts = np.array(
            [np.bincount(each.astype(np.int64), minlength=256) for each in (mine, yours)]
        )
        counts = counts[:, counts.sum(axis=0) > 0]
        if counts.shape[1] > 1:
            smallest = min(smallest, scipy.stats.chi2_contingency(counts).pvalue)
    return bool(smallest < ALARM / len(real))


@pytest.mark.parametrize("count", [3, 7])
@pytest.mark.parametrize(
    "masking, caught",
    [
        (proper, False),
        (without_pair, True),
        (of_32_bits, True),
        (of_one_word, True),
        (of_every_request, True),
    ],
)
def test_the_view_can_be_simulated_from_the_sum(sites, count, masking, caught):
    made = sites(count)
    shares = [honest_shares(seed) for seed in (1, 2)]
    views = [view(made, of, masking, digest) for of, digest in zip(shares, DIGESTS, strict=True)]
    rng = np.random.default_rng(20261122)
    made_up = [simulated(of[HONEST[0]] + of[HONEST[1]], rng) for of in shares]
    for seen, invented, of in zip(views, made_up, shares, strict=True):
        total = of[HONEST[0]] + of[HONEST[1]]
        assert (seen[HONEST[0]] + seen[HONEST[1]] == total).all()
        assert (invented[HONEST[0]] + invented[HONEST[1]] == total).all()
    assert told_apart(features(views, shares), features(made_up, shares)) is caught


@pytest.mark.parametrize(
    "masking, uniform", [(proper, True), (lambda made, shares, name, digest: shares[name], False)]
)
def test_the_bytes_of_an_answer_are_uniform(sites, masking, uniform):
    """Chi-square on each of the eight bytes of a word; the twin leaves the mask out."""
    made = sites(3)
    shares = {**honest_shares(3), "site-02": np.zeros(SIZE, np.int64)}
    pvalues = []
    for name in made.roster:
        octets = masking(made, shares, name, DIGESTS[0]).view(np.uint8).reshape(-1, 8)
        for place in range(8):
            counts = np.bincount(octets[:, place], minlength=256)
            pvalues.append(scipy.stats.chisquare(counts).pvalue)
    assert bool(min(pvalues) > ALARM / len(pvalues)) is uniform


def test_answers_to_two_requests_do_not_belong_together(sites):
    """What differs between two answers to one sum is uniform; under one mask it would be 0."""
    made = sites(3)
    shares = {**honest_shares(4), "site-02": np.zeros(SIZE, np.int64)}
    one, two = (proper(made, shares, HONEST[0], digest) for digest in DIGESTS)
    again = proper(made, shares, HONEST[0], DIGESTS[0])
    counts = np.bincount((one - two).view(np.uint8), minlength=256)
    assert scipy.stats.chisquare(counts).pvalue > ALARM
    assert (one == again).all()
