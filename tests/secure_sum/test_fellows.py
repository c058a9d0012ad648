"""Who shares masks with whom: mutual, connected without any colluders, and the masks cancel."""

from __future__ import annotations

import itertools
import random

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.privacy.secure_sum import RequestMask
from fedloom.privacy.secure_sum.fellows import MIN_FELLOWS, fellows
from tests.secure_sum.conftest import Sites

DIGEST = "ab" * 32


def graph(count: int, *, digest: str = DIGEST, colluding: int = 1, least: int) -> nx.Graph:
    names = [f"site-{number:02d}" for number in range(count)]
    made = nx.Graph()
    made.add_nodes_from(names)
    for name in names:
        for other in fellows(name, names, request_digest=digest, colluding=colluding, least=least):
            made.add_edge(name, other)
    return made


@settings(max_examples=60, deadline=None)
@given(count=st.integers(3, 40), least=st.integers(1, 12), colluding=st.integers(0, 14))
def test_fellowship_is_mutual_and_as_wide_as_asked(count, least, colluding):
    names = [f"site-{number:02d}" for number in range(count)]
    asked = {"request_digest": DIGEST, "colluding": colluding, "least": least}
    beside = {name: fellows(name, names, **asked) for name in names}
    for name, others in beside.items():
        assert name not in others and others == sorted(set(others))
        assert len(others) >= min(count - 1, max(least, colluding + 1))
        assert all(name in beside[other] for other in others)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(5, 24), colluding=st.integers(0, 8), digest=st.sampled_from("0123456789"))
def test_no_allowed_colluders_part_the_honest_sites(count, colluding, digest):
    """The least number of sites that part the graph, by max-flow (networkx), is above t."""
    made = graph(count, digest=digest * 64, colluding=colluding, least=1)
    if made.number_of_edges() == count * (count - 1) // 2:
        return
    assert nx.node_connectivity(made) > colluding


def test_a_graph_too_thin_is_parted():
    """The twin: with 2 fellows each, some two colluders part the others."""
    made = graph(8, colluding=1, least=1)
    parted = [
        pair
        for pair in itertools.combinations(made, 2)
        if not nx.is_connected(made.subgraph(set(made) - set(pair)))
    ]
    assert parted


def test_up_to_sixty_five_sites_all_are_fellows():
    names = [f"site-{number}" for number in range(MIN_FELLOWS + 2)]
    for count, wanted in ((3, 2), (MIN_FELLOWS + 1, MIN_FELLOWS), (MIN_FELLOWS + 2, MIN_FELLOWS)):
        asked = names[:count]
        assert len(fellows(names[0], asked, request_digest=DIGEST, colluding=1)) == wanted
    assert len(fellows(names[0], names, request_digest=DIGEST, colluding=64)) == 65


def test_the_ring_follows_the_digest_and_not_the_order_of_names():
    names = [f"site-{number:03d}" for number in range(200)]
    shuffled = random.Random(1).sample(names, len(names))
    asked = {"colluding": 1}
    one = fellows("site-000", names, request_digest=DIGEST, **asked)
    assert fellows("site-000", shuffled, request_digest=DIGEST, **asked) == one
    assert fellows("site-000", names, request_digest="cd" * 32, **asked) != one


@pytest.mark.parametrize("count", [66, 80])
def test_masks_of_a_large_roster_sum_to_nothing(count):
    made = Sites(count)
    total = np.zeros(50, np.uint64)
    for name in made.roster:
        words = RequestMask(
            site=name,
            roster=made.roster,
            private_key=made.keys[name],
            request_digest=DIGEST,
            colluding=1,
        ).words(50)
        assert words.any()
        total += words
    assert not total.any()


def test_a_mask_of_a_large_roster_is_made_as_documented():
    made = Sites(70)
    site = "site-03"
    mask = RequestMask(
        site=site,
        roster=made.roster,
        private_key=made.keys[site],
        request_digest=DIGEST,
        colluding=1,
    )
    others = fellows(site, made.roster, request_digest=DIGEST, colluding=1)
    assert len(others) == 64
    expected = sum(made.pair(site, other, DIGEST, 31) for other in others)
    assert (mask.words(31) == expected).all()
