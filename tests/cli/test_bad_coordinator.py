"""A served vault against a coordinator that asks for more; a run against sites that are wrong."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

import fedloom.client.vault as vault_module
from fedloom.common.models import build_model
from fedloom.privacy.ledger import read_ledger
from tests.federation import (
    approve_at,
    cli,
    make,
    make_home,
    make_plan,
    request,
    table,
)
from tests.served import Served


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in ("north", "south")}


@pytest.fixture
def plan(tmp_path, homes):
    plan = make_plan(tmp_path / "study", homes, "weights")
    approve_at(homes["north"], plan, table(100))
    return plan


def weights(plan, value: float) -> dict[str, np.ndarray]:
    shapes = build_model(plan.model, plan.encoding).request_shapes()
    return {name: np.full(shape, value, dtype=np.float32) for name, shape in shapes.items()}


def kinds(home: Path) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home).entries]


def test_a_served_vault_refuses_what_was_not_approved_and_survives_kill_9(
    tmp_path_factory, homes, plan
):
    socket = tmp_path_factory.mktemp("v") / "v.sock"
    socket.parent.chmod(0o700)
    home = homes["north"].path
    served = Served(home, socket)
    try:
        params = plan.rounds[1].params
        good = {"arrays": weights(plan, 0.01)}
        wrong = {
            "other noise": {"params": {**params, "noise_multiplier": 0.1}},
            "other clip": {"params": {**params, "max_grad_norm": 9.0}},
            "other rate": {"params": {**params, "sample_rate": 0.5}},
            "more steps": {"params": {**params, "local_steps": 9}},
            "more rounds": {"round": 4},
            "another roster": {"roster": ("north",)},
            "another study": {"study": "0" * 64},
        }
        for changes in wrong.values():
            answer = served.ask(request(plan, "train", 2, **{**good, **changes}))
            assert answer.header.status == "outside-plan" and not answer.arrays
        unapproved = served.ask(request(plan, "train", 2, plan="0" * 64, **good))
        assert unapproved.header.status == "not-approved"
        not_finite = served.ask(request(plan, "train", 2, arrays=weights(plan, np.nan)))
        assert not_finite.header.status == "malformed"
        assert "open" not in kinds(home)
        overflowing = served.ask(request(plan, "train", 2, arrays=weights(plan, 3e38)))
        assert overflowing.header.status == "malformed" and "open" not in kinds(home)
        huge = served.ask(request(plan, "train", 2, arrays=weights(plan, 1e4)))
        assert huge.ok and all(np.isfinite(array).all() for array in huge.arrays.values())
        other = served.ask(request(plan, "train", 2, **good))
        assert other.header.status == "conflict"
    finally:
        served.end(signal.SIGKILL)
    assert kinds(home) == ["genesis", "approve", "reserve", "open", "commit"]
    assert cli("ledger", "verify", home).code == 0
    again = Served(home, socket)
    try:
        second_vault = cli("site", "serve", "--home", home)
        assert second_vault.code == 3 and "in use" in second_vault.err
        stored = again.ask(request(plan, "train", 2, arrays=weights(plan, 1e4)))
    finally:
        assert again.end(signal.SIGTERM) == 0
    assert all(np.array_equal(stored.arrays[name], huge.arrays[name]) for name in huge.arrays)
    assert kinds(home).count("commit") == 1


def not_finite(arrays):
    return {name: np.full_like(array, np.nan) for name, array in arrays.items()}


def wrong_shape(arrays):
    return {name: array[..., :-1] for name, array in arrays.items()}


def wrong_name(arrays):
    return {f"{name}-2": array for name, array in arrays.items()}


@pytest.mark.parametrize("spoil", [not_finite, wrong_shape, wrong_name])
@pytest.mark.parametrize("wrong_sites", [1, 2])
def test_wrong_answers_are_dropped_and_the_quorum_decides(
    tmp_path, monkeypatch, spoil, wrong_sites
):
    federation = make(tmp_path / "study", "weights", sites=("east", "north", "south"))
    wrong = federation.sites[:wrong_sites]

    class Wrong(vault_module.Vault):
        def _compute(self, plan, asked, mask_share):
            arrays = super()._compute(plan, asked, mask_share)
            return spoil(arrays) if self.site in wrong and asked.round == 2 else arrays

    monkeypatch.setattr("fedloom.simulation.Vault", Wrong)
    done = federation.simulate(tmp_path / "run")
    assert f"site {wrong[0]}: no usable answer" in done.err
    if wrong_sites == 1:
        assert done.code == 0, done.err
        return
    assert done.code == 5 and "1 of 3 sites gave a usable answer, the study needs 2" in done.err
    assert kinds(tmp_path / "run" / "sites" / "south").count("commit") == 2
