"""Weights and machines that could break the clip are refused before a record is read."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.client.vault import Vault
from fedloom.common.models import build_model
from fedloom.privacy.ledger import read_ledger
from tests.federation import approve_at, ask, make_home, make_plan, request, status, table


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in ("north", "south")}


def weights(plan, value: float = 0.01) -> dict[str, np.ndarray]:
    shapes = build_model(plan.model, plan.encoding).request_shapes()
    return {name: np.full(shape, value, dtype=np.float32) for name, shape in shapes.items()}


def kinds(home) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home.path).entries]


@pytest.mark.parametrize("model", ["weights", "gradients", "gan"])
def test_weights_that_would_overflow_are_refused_and_cost_nothing(tmp_path, homes, model):
    plan = make_plan(tmp_path / "study", homes, model)
    approve_at(homes["north"], plan, table(100))
    asked = plan.rounds[1]
    with Vault(homes["north"]) as vault:
        for value in (3e38, -3e38, 1.1e4):
            huge = request(plan, asked.query, 2, arrays=weights(plan, value))
            assert status(vault, huge) == "malformed"
    assert "open" not in kinds(homes["north"])


@pytest.mark.parametrize("model", ["weights", "gradients", "gan"])
def test_kernels_that_tell_rows_apart_are_refused_before_a_record_is_read(
    tmp_path, homes, model, monkeypatch
):
    plan = make_plan(tmp_path / "study", homes, model)
    approve_at(homes["north"], plan, table(100))
    monkeypatch.setattr(
        "fedloom.client.vault.kernels_are_row_invariant", lambda plan, device: False
    )
    with Vault(homes["north"]) as vault:
        asked = request(plan, plan.rounds[1].query, 2, arrays=weights(plan))
        assert status(vault, asked) == "unavailable"
    assert "open" not in kinds(homes["north"])


@pytest.mark.parametrize("model", ["weights", "gradients", "gan"])
@pytest.mark.parametrize("value", [1e4, -1e4])
def test_extreme_weights_are_answered_with_finite_noise(tmp_path, homes, model, value):
    plan = make_plan(tmp_path / "study", homes, model)
    approve_at(homes["north"], plan, table(100))
    asked = plan.rounds[1]
    with Vault(homes["north"]) as vault:
        answer = ask(vault, request(plan, asked.query, 2, arrays=weights(plan, value)))
    assert answer is not None and answer.ok
    assert all(np.isfinite(array).all() for array in answer.arrays.values())
