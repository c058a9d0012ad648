"""Which records a query is about: held-back units in `evaluate` alone, all others in the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import scipy.stats

from fedloom.client.queries import answer_arrays
from fedloom.client.records import Records, Snapshot, freeze, load_records
from fedloom.common.messages import Request
from fedloom.common.models import build_model
from fedloom.common.scores import BINS, EvaluationQueries
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import replaced
from tests.federation import make_home, make_plan, request, table

Answerer = Callable[..., dict[str, np.ndarray[Any, np.dtype[Any]]]]
EVALUATED = "\n[evaluation]\nshare = 0.2\nhold_back = 0.5\n"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Snapshot]:
    folder = tmp_path_factory.mktemp("queries")
    home = make_home(folder / "home")
    plan = make_plan(folder / "study", {"north": home}, "gradients", EVALUATED)
    return plan, load_records(home, plan, freeze(home, plan, table(80)))


def requests(plan: Plan) -> dict[str, Request]:
    """One request of each query of the plan."""
    rng = np.random.default_rng(3)
    shapes = build_model(plan.model, plan.encoding).request_shapes()
    weights = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    encoding = plan.encoding
    scorer = {
        "groups": np.concatenate([np.arange(b.size) for b in encoding.features]).astype(np.int32),
        "questions": np.array([[0, 1, -1]], dtype=np.int32),
        "weights": rng.normal(0, 1, (1, encoding.width + 1)).astype(np.float32),
        "edges": np.linspace(-2, 2, BINS - 1, dtype=np.float32)[None],
    }
    EvaluationQueries(encoding).check(scorer)
    arrays: dict[str, Any] = {"statistic": {}, "gradient": weights, "evaluate": scorer}
    first = {asked.query: asked for asked in reversed(plan.rounds)}
    assert set(first) == set(arrays)
    return {
        query: request(plan, query, first[query].round, arrays=arrays[query]) for query in arrays
    }


def extreme(records: Records) -> Records:
    """The same records with the first one moved to the last cell of every column and class."""
    codes, classes = records.features.copy(), records.classes.copy()
    codes[0], classes[0] = (11, 2), 2
    return dataclasses.replace(records, features=codes, classes=classes)


def queries_that_see(part: str, frozen: tuple[Plan, Snapshot], answer: Answerer) -> set[str]:
    """Returns the queries whose answers change with one record of a part, at equal noise."""
    plan, snapshot = frozen
    changed = dataclasses.replace(snapshot, **{part: extreme(getattr(snapshot, part))})
    seen = set()
    for query, asked in requests(plan).items():
        answers = []
        for records in (snapshot, changed):
            noise = NoiseSource.from_insecure_seed(7)
            mask_share = {"device": "cpu", "mask_share": lambda part: part}
            answers.append(answer(plan, asked, records, noise, **mask_share)["sum"])
        if not np.array_equal(*answers):
            seen.add(query)
    return seen


def separated(frozen: tuple[Plan, Snapshot], answer: Answerer) -> bool:
    return queries_that_see("held_back", frozen, answer) == {"evaluate"} and queries_that_see(
        "training", frozen, answer
    ) == {"statistic", "gradient"}


def test_held_back_units_are_in_no_training_query_and_others_in_no_evaluation(frozen):
    assert separated(frozen, answer_arrays)


def test_an_evaluation_on_training_units_is_caught(frozen):
    def leaky(plan: Plan, asked: Request, snapshot: Snapshot, *rest: Any, **more: Any) -> Any:
        whole = dataclasses.replace(snapshot, held_back=snapshot.training)
        return answer_arrays(plan, asked, whole, *rest, **more)

    assert not separated(frozen, leaky)


def test_training_on_held_back_units_is_caught(frozen):
    def leaky(plan: Plan, asked: Request, snapshot: Snapshot, *rest: Any, **more: Any) -> Any:
        mixed = Records(
            features=np.concatenate([snapshot.training.features, snapshot.held_back.features]),
            classes=np.concatenate([snapshot.training.classes, snapshot.held_back.classes]),
        )
        whole = dataclasses.replace(snapshot, training=mixed)
        return answer_arrays(plan, asked, whole, *rest, **more)

    assert not separated(frozen, leaky)


def test_coins_are_tossed_once_at_approval(tmp_path):
    home = make_home(tmp_path / "home")
    plan = make_plan(tmp_path / "study", {"north": home}, "mixture", EVALUATED)
    commitment = freeze(home, plan, table(200))
    first, again = (load_records(home, plan, commitment).held_back for _ in range(2))
    np.testing.assert_array_equal(first.features, again.features)
    # Another approval tosses anew: equal splits of 200 units happen once in 2^200.
    other = load_records(home, plan, freeze(home, plan, table(200))).held_back
    same = len(other.classes) == len(first.classes) and np.array_equal(
        other.features, first.features
    )
    assert not same


def without_held_back(snapshot: Snapshot) -> Snapshot:
    nobody = dataclasses.replace(
        snapshot.held_back,
        features=snapshot.held_back.features[:0],
        classes=snapshot.held_back.classes[:0],
    )
    return dataclasses.replace(snapshot, held_back=nobody)


@pytest.mark.parametrize("factor, believed", [(1.0, True), (0.5, False)])
def test_each_histogram_has_its_own_noise_of_the_planned_size(frozen, factor, believed):
    """Chi-square at 0.001 a histogram; this seed is fixed. The twin adds half the noise."""
    plan, snapshot = frozen
    asked = requests(plan)["evaluate"]
    evaluation = plan.evaluation
    quiet = msgspec.structs.replace(
        evaluation, noise_multiplier=evaluation.noise_multiplier * factor
    )
    phases = tuple(quiet if phase is evaluation else phase for phase in plan.phases)
    twin = replaced(plan, phases=phases)
    noise = NoiseSource.from_insecure_seed(20_260_101)
    nobody, plain = without_held_back(snapshot), {"device": "cpu", "mask_share": lambda part: part}
    draws = np.stack([answer_arrays(twin, asked, nobody, noise, **plain)["sum"] for _ in range(40)])
    start = 0
    for histogram in evaluation.histograms:
        part = draws[:, start : start + histogram.length] * histogram.grid_step
        start += histogram.length
        std = evaluation.noise_multiplier * histogram.l2_norm
        p_value = float(scipy.stats.chi2.sf((part**2).sum() / std**2, part.size))
        assert (1e-3 < p_value < 1 - 1e-3) is believed
    assert len({draw.tobytes() for draw in draws}) == len(draws)


def test_an_answer_to_evaluate_is_its_histograms_in_grid_steps(frozen):
    """Insecure noise drawn again and taken off leaves the exact counts."""
    plan, snapshot = frozen
    asked = requests(plan)["evaluate"]
    answer = answer_arrays(
        plan,
        asked,
        snapshot,
        NoiseSource.from_insecure_seed(7),
        device="cpu",
        mask_share=lambda part: part,
    )["sum"]
    noise_alone = answer_arrays(
        plan,
        asked,
        without_held_back(snapshot),
        NoiseSource.from_insecure_seed(7),
        device="cpu",
        mask_share=lambda part: part,
    )["sum"]
    measured = EvaluationQueries(plan.encoding)
    sums = measured.sums(snapshot.held_back.features, snapshot.held_back.classes, asked.arrays)
    units = np.concatenate(
        [np.full(h["length"], h["grid_step"]) for h in asked.params["histograms"]]
    )
    assert answer.dtype == np.int64
    np.testing.assert_array_equal((answer - noise_alone) * units, measured.join(sums))
