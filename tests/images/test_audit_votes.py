"""White-box audits of votes for candidate images, with twins that must be caught."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fedloom
from fedloom.client.records import Records, Snapshot
from fedloom.common.images import votes
from fedloom.common.images.coder import PIXELS
from fedloom.common.images.votes import VoteSum, vote_shapes
from fedloom.common.study import load_study
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.resolve import assemble, drafts_of
from tests.audited import Neighbours, allowed
from tests.images.conftest import SCHEMA
from tests.mu_audit import Audit, claimed_mu

TRIALS, TRIALS_OF_TWINS, NOISE = 1000, 200, 1 / 3
SMALL = SCHEMA.replace('"2", "3", "4", "5", "6", "7", "8", "9"', '"2"')


@pytest.fixture
def audit(tmp_path, study_at) -> Audit:
    """Votes of one site with a third of their sensitivity as noise; the canary has one."""
    more = "[model.votes]\ncandidates = 5\n"
    path = study_at(tmp_path, schema=SMALL, more=more)
    text = path.read_text()
    for site in ("north", "south", "west"):
        text = text.replace(f'[[site]]\nname = "{site}"\n', "")
    path.write_text(text)
    study, schema = load_study(path)
    study = study.with_keys({"east": ("11" * 32, "22" * 32)}).with_coordinator("33" * 32)
    phases = [draft.at(NOISE) for draft in drafts_of(study, schema)]
    plan = assemble(study, schema, phases, version=fedloom.__version__)
    number = len(plan.statistics)
    shape, kind = vote_shapes(plan.coder)["candidates"]
    candidates = np.random.default_rng(0).integers(0, 256, shape).astype(kind)
    return Audit(
        plan=plan,
        requests=(allowed(plan, number, arrays={"candidates": candidates}),),
        tables=tables(plan),
        claim=claimed_mu(plan.rounds[number - 1].event),
    )


def tables(plan):
    features = np.zeros(7, dtype=plan.coder.record_type)
    features[PIXELS] = np.random.default_rng(1).integers(0, 256, features[PIXELS].shape)
    classes = np.array([1, 0, 0, 1, 1, 1, 1])
    none = Records(features=features[:0], classes=classes[:0])

    def snapshot(rows):
        records = Records(features=features[rows], classes=classes[rows])
        return Snapshot(training=records, held_back=none)

    return {"east": Neighbours(without=snapshot(slice(1, 7)), with_it=snapshot(slice(0, 7)))}


def test_a_vote_gives_away_what_is_claimed_and_no_more(audit):
    assert 0.85 < audit.run(TRIALS).reached <= 1.0


def test_half_the_noise_is_caught(audit, monkeypatch):
    honest = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: honest(self, n, std / 2))
    found = audit.run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


def test_two_votes_of_a_record_are_caught(audit, monkeypatch):
    honest = VoteSum.sum

    def twice(self, features, classes):
        others = np.roll(self._candidates, 1, axis=1)
        second = VoteSum(self._coder, {"candidates": others})
        return honest(self, features, classes) + honest(second, features, classes)

    monkeypatch.setattr(VoteSum, "sum", twice)
    found = audit.run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


def test_votes_that_depend_on_the_batch_are_caught(audit, monkeypatch):
    """Features that are centred on the batch: one record moves the votes of others."""
    honest = votes.nearest

    def moved(points, candidates):
        middle = points.sum(axis=0) if len(points) else 0.0
        return honest(points - 5.0 * middle * (len(points) % 2), candidates)

    monkeypatch.setattr(votes, "nearest", moved)
    found = audit.run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


def test_a_record_that_is_counted_twice_is_caught(audit):
    pair = audit.tables["east"]
    records = pair.with_it.training
    double = Records(
        features=np.concatenate([records.features[:1], records.features]),
        classes=np.concatenate([records.classes[:1], records.classes]),
    )
    with_it = dataclasses.replace(pair.with_it, training=double)
    pairs = {"east": Neighbours(without=pair.without, with_it=with_it)}
    found = dataclasses.replace(audit, tables=pairs).run(TRIALS_OF_TWINS)
    assert found.bound > found.claim
