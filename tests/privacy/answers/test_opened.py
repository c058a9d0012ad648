"""An opened round: what its file holds, how it is read, and the noise that it states."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import safetensors.numpy

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, ReleaseError
from fedloom.common.messages import Answer, Request, arrays_digest
from fedloom.privacy.answers.files import pack_arrays, read_arrays
from fedloom.privacy.answers.opened import OpenedRound, noisy_sums
from tests.made_answers import answer_header

SITES = ("east", "north", "south", "west")


def request_of(plan, asked, roster=SITES, arrays=None):
    return Request(
        query=asked.query,
        study=plan.study_digest,
        plan=plan.digest(),
        run="r",
        round=asked.round,
        params=asked.params,
        roster=roster,
        arrays=arrays or {},
    )


def answers_of(length, sites=SITES):
    """Words of 64 bits, as masked parts are: their sum wraps around."""
    rng = np.random.default_rng(5)
    made = {}
    for site in sites:
        arrays = {"sum": rng.integers(-(2**63), 2**63, length, dtype=np.int64)}
        made[site] = Answer(
            header=answer_header(site, arrays_digest=arrays_digest(arrays)), arrays=arrays
        )
    return made


@pytest.fixture(params=["per-site", "secure-sum"])
def plan(request, fake):
    keys = {name: f"{number:064x}" for number, name in enumerate(SITES)}
    if request.param == "per-site":
        return fake.make_plan(keys, evaluation={"share": 0.1, "hold_back": 0.2})
    return fake.make_secure_plan(keys)


def test_a_file_says_what_was_packed(plan, tmp_path):
    for asked in plan.rounds:
        groups = {"groups": np.arange(7, dtype=np.int32)}
        length = sum(h["length"] for h in asked.params.get("histograms", [{"length": 9}]))
        answers = answers_of(length)
        opened = OpenedRound.open(plan, asked, request_of(plan, asked, arrays=groups), answers)
        path = tmp_path / "x.safetensors"
        path.write_bytes(opened.pack())
        read = OpenedRound.load(path)
        assert read.header() == opened.header() and read.sites == SITES
        for mine, other in ((read.own, opened.own), (read.request_arrays, groups)):
            assert set(mine) == set(other)
            assert all(np.array_equal(mine[name], other[name]) for name in mine)
        expected = sum(answers[site].arrays["sum"].astype(object) for site in SITES)
        wrapped = [(int(value) + 2**63) % 2**64 - 2**63 for value in expected]
        assert read.total.tolist() == wrapped
        digest = read.request(plan.study_digest).digest()
        assert digest == read.request_digest == request_of(plan, asked, arrays=groups).digest()
        for site, own in read.own.items():
            assert arrays_digest({"sum": own}) == read.answer_digests[site]
        assert bool(read.own) is (plan.colluding is None)


def test_the_noise_is_that_of_the_sites_in_the_sum(plan):
    """Local: n whole noises. Secure: n shares of variance s^2 / (n - t)."""
    for asked in plan.rounds:
        for n in (3, 4):
            for part in noisy_sums(plan, asked, 9, n):
                stated = part.l2_norm * part.noise_multiplier
                variance = n if plan.colluding is None else n / (n - plan.colluding)
                assert part.std == pytest.approx(stated * math.sqrt(variance))
                assert part.own_std == (stated if plan.colluding is None else None)


def test_numbers_are_the_grid_times_its_unit(plan):
    asked = plan.rounds[-1]
    length = sum(h["length"] for h in asked.params["histograms"])
    opened = OpenedRound.open(plan, asked, request_of(plan, asked), answers_of(length))
    units = np.repeat(
        [part.grid_step for part in opened.sums], [part.length for part in opened.sums]
    )
    assert np.array_equal(opened.values(), opened.total * units)


def test_a_secure_sum_without_one_of_its_roster_does_not_open(plan):
    asked = plan.rounds[0]
    answers = answers_of(9, SITES[:3])
    if plan.colluding is None:
        assert OpenedRound.open(plan, asked, request_of(plan, asked), answers).sites == SITES[:3]
        return
    with pytest.raises(ConfigError, match="new attempt"):
        OpenedRound.open(plan, asked, request_of(plan, asked), answers)


@pytest.fixture
def packed(plan):
    asked = plan.rounds[0]
    return OpenedRound.open(plan, asked, request_of(plan, asked), answers_of(9))


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: header.pop("roster"),
        lambda header, arrays: header.update(more=1),
        lambda header, arrays: header.update(format="fedloom-answer/0"),
        lambda header, arrays: header.update(sums=[{"name": "one-way"}]),
        lambda header, arrays: header["sums"][0].update(length=8),
        lambda header, arrays: arrays.update(more=np.zeros(1)),
        lambda header, arrays: arrays.pop("sum"),
        lambda header, arrays: arrays.update(sum=np.zeros(9)),
        lambda header, arrays: arrays.update(sum=np.zeros((3, 3), dtype=np.int64)),
    ],
)
def test_a_file_that_lacks_or_adds_anything_is_refused(packed, tmp_path, change):
    path = tmp_path / "x.safetensors"
    path.write_bytes(packed.pack())
    header, arrays = read_arrays(path)
    change(header, arrays)
    path.write_bytes(pack_arrays(header, arrays))
    with pytest.raises(ReleaseError):
        OpenedRound.load(path)


def test_a_header_that_could_be_read_in_two_ways_is_refused(packed, tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {"sum": packed.total}
    text = canonical_json(packed.header()).decode()
    for metadata in (
        {"fedloom": text.replace('"round":1', '"round":2,"round":1')},
        {"fedloom": json.dumps(packed.header())},
        {"fedloom": text, "more": "x"},
        {"fedloom": "[]"},
        {},
    ):
        path.write_bytes(safetensors.numpy.save(arrays, metadata=metadata))
        with pytest.raises(ReleaseError):
            read_arrays(path)
    for data in (b"", b"\xff" * 8, packed.pack()[:-1]):
        path.write_bytes(data)
        with pytest.raises(ReleaseError):
            read_arrays(path)
    path.unlink()
    with pytest.raises(ReleaseError):
        read_arrays(path)


def test_a_frozen_round_cannot_be_changed_in_place(packed):
    with pytest.raises(dataclasses.FrozenInstanceError):
        packed.round = 2
