"""Adding or removing one person, with all rows, moves no sum by more than the plan's norm.

Each test has a twin with the bug built in: the cap is ignored, or rows are clipped one by one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import fedloom
from fedloom.client import records as records_module
from fedloom.client.persons import kept_rows
from fedloom.client.records import freeze, load_records
from fedloom.common.marginals import groups_of_one
from fedloom.common.models import build_model
from fedloom.common.models.draws import SeededDraws
from fedloom.common.scores import BINS, EvaluationQueries
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.common.study import load_study
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.resolve import resolve_plan
from tests.federation import make, make_home, table

PERSONS = 'unit = "person"\nid = "patient"\nrows_per_person = 3\n'
EVALUATION = "[evaluation]\nshare = 0.1\nhold_back = 0.5\n"


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path / "home")


@pytest.fixture
def plan_of(tmp_path, home):
    def made(model: str = "mixture", more: str = ""):
        keys = {"north": (home.public_key(), home.exchange_public_key())}
        federation = make(tmp_path / "study", model, sites=("north",), keys=keys, more=more)
        federation.edit("delta = 1e-3\n", "delta = 1e-3\n" + PERSONS)
        return resolve_plan(*load_study(federation.study), version=fedloom.__version__)

    return made


@pytest.fixture
def same_luck(monkeypatch):
    """Keys and coins that do not differ between two tables."""
    monkeypatch.setattr(records_module.secrets, "token_bytes", lambda count: bytes(count))


def patients() -> pd.DataFrame:
    """Twenty people of one to nine rows each; those of one person are alike, the worst case."""
    frame = table(20)
    frame["patient"] = [f"p{number}" for number in range(20)]
    return frame.loc[frame.index.repeat(1 + np.arange(20) % 9)].reset_index(drop=True)


def without(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["patient"] != name]


def distances(home, plan, measure):
    """How far `measure` of the training records moves as each person leaves."""

    def of(frame):
        return measure(load_records(home, plan, freeze(home, plan, frame)).training)

    whole = of(patients())
    names = patients()["patient"].unique()
    return [float(np.linalg.norm(whole - of(without(patients(), name)))) for name in names]


def ignoring_the_cap(ids, codes, cap, key):
    return kept_rows(ids, codes, 100, key)


@pytest.mark.parametrize("capped", [True, False])
@pytest.mark.parametrize("number", [0, 1])
def test_a_statistic_moves_by_the_plans_norm_at_most(
    home, plan_of, same_luck, monkeypatch, number, capped
):
    plan = plan_of()
    if not capped:
        monkeypatch.setattr(records_module, "kept_rows", ignoring_the_cap)
    phase = plan.statistics[number]
    groups = {"groups": groups_of_one(plan.encoding)}
    measured = statistic_kind(phase.statistic).of(plan.encoding, groups)
    moved = distances(home, plan, lambda r: measured.sum(r.features, r.classes))
    within = max(moved) <= phase.l2_norm * (1 + 1e-12)
    assert within is capped
    if capped:  # and no smaller norm would do
        assert max(moved) == pytest.approx(phase.l2_norm)


def test_held_back_counts_move_by_the_plans_norm_at_most(home, plan_of, same_luck):
    plan = plan_of()
    evaluation = EvaluationQueries(plan.encoding)
    width = plan.encoding.width
    arrays = {
        "groups": groups_of_one(plan.encoding),
        "questions": np.array([[0, 1, -1]], dtype=np.int32),
        "weights": np.linspace(-1, 1, width + 1, dtype=np.float32)[None],
        "edges": np.linspace(-1, 1, BINS - 1, dtype=np.float32)[None],
    }
    evaluation.check(arrays)
    for histogram in plan_of(more=EVALUATION).evaluation.histograms:

        def counted(records, name=histogram.name):
            return evaluation.sums(records.features, records.classes, arrays)[name]

        assert max(distances(home, plan, counted)) == pytest.approx(histogram.l2_norm)


@pytest.mark.parametrize("together", [True, False])
def test_a_gradient_moves_by_one_clip_however_many_rows_a_person_has(
    home, plan_of, same_luck, together
):
    plan = plan_of("gradients")
    clip = 0.01  # small enough that every row reaches it
    model = build_model(plan.model, plan.encoding)
    module = model.private_module(seed=3)
    public = {name: np.zeros(s, dtype=np.float32) for name, s in model.public_shapes.items()}

    def gradient(records):
        # The same numbers for a row wherever it stands in the batch.
        parts = [
            model.make_batch(
                records.features[[row]], records.classes[[row]], public, SeededDraws(0)
            )
            for row in range(len(records.classes))
        ]
        batch = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        sums = clipped_gradient_sum(
            module,
            model.loss,
            batch,
            max_grad_norm=clip,
            persons=torch.from_numpy(records.persons) if together else None,
            dtype=torch.float64,
        )
        return torch.cat([value.reshape(-1) for value in sums.values()]).numpy()

    moved = distances(home, plan, gradient)
    assert (max(moved) <= clip * (1 + 1e-4)) is together
    assert max(moved) == pytest.approx(clip if together else 3 * clip, rel=1e-3)
