from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals
from fedloom.server.metrics import Reporter, distance_to_noisy_marginals
from fedloom.server.run_folder import RunFolder
from tests.federation import COORDINATOR, make_home, make_plan, table

META = {"report": {"critic": 0.25}}


@pytest.fixture
def plan(tmp_path):
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    return make_plan(tmp_path / "study", homes, "weights")


@pytest.fixture
def statistics(plan):
    measured = OneWayMarginals(plan.encoding)
    codes = plan.encoding.encode(table(5000)).codes
    exact = measured.sum(plan.encoding.feature_codes(codes), plan.encoding.classes(codes))
    return NoisyMarginals(encoding=plan.encoding, look=exact.astype(float), look_std=1.0)


@pytest.fixture
def folder(tmp_path, plan, statistics, monkeypatch):
    folder = RunFolder.create(tmp_path / "run", plan, run="r1", details={}, key=COORDINATOR)
    monkeypatch.setattr(RunFolder, "statistics", lambda self: statistics)
    return folder


def product(statistics, *, shuffled: bool = False) -> Artifact:
    """A mixture of one component a class: the marginals, or the same with codes reversed."""
    encoding = statistics.encoding
    probabilities = np.zeros((encoding.num_classes, 1, encoding.width))
    for label in range(encoding.num_classes):
        for block, counts in zip(encoding.features, statistics.one_way(label), strict=True):
            kept = np.maximum(counts, 0.0) * np.array(block.sampleable) + 1e-9
            part = kept[::-1] if shuffled else kept
            probabilities[label, 0, block.start : block.start + block.size] = part / part.sum()
    prior = statistics.class_counts()
    return Artifact(
        kind="mixture",
        config={},
        arrays={"probabilities": probabilities, "class_prior": prior / prior.sum()},
    )


def test_the_distance_tells_a_generator_from_a_wrong_one(statistics):
    right = distance_to_noisy_marginals(product(statistics), statistics)
    wrong = distance_to_noisy_marginals(product(statistics, shuffled=True), statistics)
    assert 0.0 <= right < 0.05 < 0.1 < wrong <= 1.0


def test_a_round_is_reported_with_what_was_spent_by_each_site(folder, plan, statistics):
    events = []
    reporter = Reporter(folder, plan, events.append)
    artifact = product(statistics)
    reporter.round(plan.rounds[0], ["north", "south"], lambda: artifact, META)
    reporter.round(plan.rounds[1], ["north"], lambda: artifact, META)
    reporter.round(plan.rounds[2], ["north", "south"], lambda: artifact, META)
    reporter.close()
    lines = folder.metrics()
    assert [line["sites"] for line in lines] == [["north", "south"], ["north"], ["north", "south"]]
    assert all(line["critic"] == 0.25 for line in lines)
    spent = lines[-1]["epsilon"]
    assert 0 < lines[0]["epsilon"]["south"] < spent["south"] < spent["north"]
    assert spent["north"] == pytest.approx(plan.stated_price.epsilon, rel=1e-3)
    assert [event["round"] for event in events] == [1, 2, 3]
    assert list((folder.path / "tensorboard").iterdir())


def test_a_resumed_reporter_counts_what_was_answered_before(folder, plan, statistics):
    artifact = product(statistics)
    first = Reporter(folder, plan, lambda event: None)
    for asked in plan.rounds[:2]:
        first.round(asked, ["north"], lambda: artifact, {})
    first.close()
    second = Reporter(folder, plan, lambda event: None)
    second.round(plan.rounds[2], ["north"], lambda: artifact, {})
    second.close()
    spent = folder.metrics()[-1]["epsilon"]["north"]
    assert spent == pytest.approx(plan.stated_price.epsilon, rel=1e-3)
