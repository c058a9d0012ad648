"""White-box audits of every sum over images, as `tests/statistical` does for counts.

The canary lies far from all others, so that it is clipped and uses its whole sensitivity. Each
audit must reach most of the mu that its plan claims and not exceed it; each twin must exceed it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fedloom
from fedloom.client.records import Records, Snapshot
from fedloom.common.images import statistics, sums
from fedloom.common.images.coder import CODES, PIXELS
from fedloom.common.images.statistics import IMAGE_SUMS, request_arrays
from fedloom.common.images.sums import (
    ClassMeans,
    ClassSpread,
    GroupMeans,
    GroupSpread,
    Spread,
)
from fedloom.common.messages import Request
from fedloom.common.study import load_study
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.resolve import assemble, drafts_of
from tests.audited import Neighbours, allowed
from tests.images.conftest import SCHEMA
from tests.mu_audit import Audit, claimed_mu

TRIALS, TRIALS_OF_TWINS = 1000, 200
NOISE = 1 / 3
NAMES = ("image-look", *IMAGE_SUMS)
SMALL = SCHEMA.replace('"2", "3", "4", "5", "6", "7", "8", "9"', '"2"')


@pytest.fixture
def plan(tmp_path, study_at):
    """A plan of one site whose every sum has a third of its sensitivity as noise."""
    path = study_at(tmp_path, schema=SMALL)
    text = path.read_text().replace('[[site]]\nname = "north"\n', "")
    for site in ("south", "west"):
        text = text.replace(f'[[site]]\nname = "{site}"\n', "")
    path.write_text(text)
    study, schema = load_study(path)
    keys = {"east": ("11" * 32, "22" * 32)}
    study = study.with_keys(keys).with_coordinator("33" * 32)
    phases = [draft.at(NOISE) for draft in drafts_of(study, schema)]
    return assemble(study, schema, phases, version=fedloom.__version__)


def tables(plan, held_back=False):
    coder = plan.coder
    features = np.zeros(5, dtype=coder.record_type)
    features[PIXELS][1:] = np.random.default_rng(0).integers(90, 110, (4, 8, 8, 1))
    features[PIXELS][0, :, 7] = 255
    classes = np.array([1, 0, 0, 1, 1])
    with_it = Records(features=features, classes=classes)
    without = Records(features=features[1:], classes=classes[1:])
    none = Records(features=features[:0], classes=classes[:0])

    def snapshot(records):
        own, other = ("held_back", "training") if held_back else ("training", "held_back")
        return Snapshot(**{own: records, other: none})

    return {"east": Neighbours(without=snapshot(without), with_it=snapshot(with_it))}


def audit(plan, name) -> Audit:
    number = 1 + [phase.statistic for phase in plan.statistics].index(name)
    coder = plan.coder
    classes, width = coder.encoding.num_classes, coder.coordinates.count + 5
    means = np.full((classes, width), 0.01)
    basis = np.eye(width)[:, :3] * 1.0
    basis[:, 2] = 1.0 / np.sqrt(width)
    centres = np.zeros((classes, 2, 3))
    centres[:, 1] = 5.0
    of = {"means": means, "basis": basis, "centres": centres, "radius": 0.5}
    made = {
        "image-means": lambda: ClassMeans(num_classes=classes, centre=means[0], radius=0.5),
        "image-spread": lambda: Spread(means=means, radius=0.5),
        "image-class-spread": lambda: ClassSpread(means=means, basis=basis, radius=0.5),
        "image-group-means": lambda: GroupMeans(**of),
        "image-group-spread": lambda: GroupSpread(**of),
    }
    arrays = request_arrays(name, coder, made[name](), False) if name in made else {}
    asked: Request = allowed(plan, number, arrays=arrays)
    return Audit(
        plan=plan,
        requests=(asked,),
        tables=tables(plan),
        claim=claimed_mu(plan.rounds[number - 1].event),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_sum_over_images_gives_away_what_is_claimed_and_no_more(plan, name):
    found = audit(plan, name).run(TRIALS)
    # Not every image fills every part of the look.
    assert (0.7 if name == "image-look" else 0.85) < found.reached <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_half_the_noise_is_caught(plan, monkeypatch, name):
    honest = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: honest(self, n, std / 2))
    found = audit(plan, name).run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


@pytest.mark.parametrize("name", IMAGE_SUMS)
def test_records_that_are_not_clipped_are_caught(plan, monkeypatch, name):
    def unclipped(vectors, radius, bound):
        return np.rint(np.asarray(vectors, dtype=np.float64) * bound / radius)

    monkeypatch.setattr(sums, "whole", unclipped)
    found = audit(plan, name).run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


def test_a_record_that_is_counted_twice_is_caught(plan):
    honest = audit(plan, "image-means")
    pair = honest.tables["east"]
    double = dataclasses.replace(
        pair.with_it,
        training=Records(
            features=np.concatenate(
                [pair.with_it.training.features[:1], pair.with_it.training.features]
            ),
            classes=np.concatenate(
                [pair.with_it.training.classes[:1], pair.with_it.training.classes]
            ),
        ),
    )
    twin = dataclasses.replace(
        honest, tables={"east": Neighbours(without=pair.without, with_it=double)}
    )
    found = twin.run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


@pytest.mark.parametrize("name", IMAGE_SUMS)
def test_a_record_s_share_does_not_depend_on_the_others(plan, name):
    """Summed alone, first, last or in a crowd, a record adds the very same integers."""
    kind = statistics.image_sum(name)
    asked = audit(plan, name).requests[0]
    rng = np.random.default_rng(1)
    features = np.zeros(1300, dtype=plan.coder.record_type)
    features[PIXELS] = rng.integers(0, 256, features[PIXELS].shape)
    assert features[CODES].shape == (1300, 0)
    classes = rng.integers(0, 3, 1300)

    def total(rows):
        return kind(plan.coder, asked.arrays).sum(features[rows].copy(), classes[rows])

    for canary in (0, 1299):
        rest = np.delete(np.arange(1300), canary)
        change = total(np.arange(1300)) - total(rest)
        np.testing.assert_array_equal(change, total(np.array([canary])))
