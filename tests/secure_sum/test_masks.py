"""Masks: derived as documented, cancelling over the roster, bound to request and roster."""

from __future__ import annotations

import numpy as np
import pytest

import fedloom.privacy.secure_sum.masks as masks_module
from fedloom.common.errors import ConfigError
from fedloom.privacy.secure_sum.masks import RequestMask

DIGEST = "ab" * 32


def masks(made, names, *, digest=DIGEST, size=1000):
    roster = {name: made.roster[name] for name in names}
    return {
        name: RequestMask(
            site=name,
            roster=roster,
            private_key=made.keys[name],
            request_digest=digest,
            colluding=1,
        ).words(size)
        for name in names
    }


def test_a_mask_is_made_as_documented(sites):
    made = sites(4)
    site = "site-01"
    others = ("site-00", "site-02", "site-03")
    expected = sum(made.pair(site, other, DIGEST, 101) for other in others)
    assert (masks(made, made.roster, size=101)[site] == expected).all()


@pytest.mark.parametrize("size", [1, 32767, 32768, 100_001])
@pytest.mark.parametrize("count", [3, 10])
def test_masks_of_a_roster_sum_to_nothing(sites, count, size):
    made = sites(count)
    together = list(masks(made, made.roster, size=size).values())
    assert not sum(together[1:], together[0]).any()
    assert all(np.count_nonzero(one) >= size - 1 for one in together)


def test_a_longer_mask_goes_on_from_a_shorter_one(sites):
    made = sites(3)
    short, long = (masks(made, made.roster, size=size) for size in (100, 40_000))
    for name in made.roster:
        assert (long[name][:100] == short[name]).all()


def test_another_digest_or_roster_makes_another_mask(sites):
    made = sites(5)
    names = list(made.roster)
    usual = masks(made, names)
    for name, other in masks(made, names, digest="ac" * 32).items():
        assert not (usual[name] == other).any()
    for name, other in masks(made, names[:4]).items():
        assert not (usual[name] == other).any()


def test_the_order_of_the_roster_does_not_matter(sites):
    made = sites(5)
    there, back = masks(made, list(made.roster)), masks(made, list(made.roster)[::-1])
    assert all((there[name] == back[name]).all() for name in made.roster)


def refused(made, roster, words, *, site="site-00", digest=DIGEST):
    with pytest.raises(ConfigError, match=words):
        RequestMask(
            site=site,
            roster=roster,
            private_key=made.keys["site-00"],
            request_digest=digest,
            colluding=1,
        )


def test_unusable_rosters_and_digests_are_refused(sites):
    made = sites(4)
    whole = made.roster
    names = list(whole)
    refused(made, {name: whole[name] for name in names[:2]}, "3 sites or more")
    refused(made, {name: whole[name] for name in names[1:]}, "does not hold site")
    refused(made, {**whole, "site-00": "00" * 32}, "exchange key of its home")
    refused(made, whole, "does not hold site", site="site-01x")
    refused(made, whole, "exchange key of its home", site="site-01")
    refused(made, {**whole, "site-03": whole["site-02"]}, "one exchange key")
    for digest in ("", "ab" * 31, "AB" * 32, "zz" * 32):
        refused(made, whole, "64 hexadecimal", digest=digest)


@pytest.mark.parametrize("key", ["00" * 32, "01" + "00" * 31, "zz" * 32, "00" * 31, ""])
def test_keys_that_share_no_secret_are_refused(sites, key):
    """0 and 1 have small order: whoever sends them knows the secret without a private key."""
    made = sites(4)
    refused(made, {**made.roster, "site-03": key}, "no usable exchange key")


def test_the_keys_of_pairs_are_derived_once_a_request(sites, monkeypatch):
    """However many sums and words a request has: one exchange a fellow site."""
    made, derived = sites(7), []
    real = masks_module.shared_secret

    def counted(key, public_hex):
        derived.append(public_hex)
        return real(key, public_hex)

    monkeypatch.setattr(masks_module, "shared_secret", counted)
    mask = RequestMask(
        site="site-03",
        roster=made.roster,
        private_key=made.keys["site-03"],
        request_digest=DIGEST,
        colluding=1,
    )
    for size in (1, 1000, 100_000):
        mask.words(size)
    others = {key for name, key in made.roster.items() if name != "site-03"}
    assert len(derived) == 6 and set(derived) == others
