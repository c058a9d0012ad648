"""The vault refuses, in order, everything but what its steward approved."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from dataclasses import replace

import numpy as np
import pytest

import fedloom.client.vault as vault_module
from fedloom.client.signed_answers import AnswerSigner
from fedloom.client.site_config import template
from fedloom.client.vault import Vault
from fedloom.common.errors import ConfigError, HomeInUseError, LedgerError
from fedloom.common.messages import Answer
from fedloom.common.models import build_model
from fedloom.privacy.ledger import Ledger, read_ledger, verify_extract
from tests.federation import (
    RUN,
    approve_at,
    ask,
    make_home,
    make_plan,
    promises,
    request,
    send,
    status,
    table,
)


@pytest.fixture
def homes(tmp_path):
    return {name: make_home(tmp_path / name, name) for name in ("north", "south")}


@pytest.fixture
def plan(tmp_path, homes):
    """Two rounds of training by weights at the site `north`, which has approved it."""
    plan = make_plan(tmp_path / "study", homes, "weights")
    approve_at(homes["north"], plan, table(100))
    return plan


@pytest.fixture
def vault(homes, plan):
    with Vault(homes["north"]) as vault:
        yield vault


def weights(plan, value: float = 0.01) -> dict[str, np.ndarray]:
    shapes = build_model(plan.model, plan.encoding).request_shapes()
    return {name: np.full(shape, value, dtype=np.float32) for name, shape in shapes.items()}


def kinds(home) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home.path).entries]


def stored(home) -> int:
    with contextlib.closing(sqlite3.connect(home.path / "ledger.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])


def test_check_open_read_compute_commit_send_in_this_order(homes, plan, vault, monkeypatch):
    steps = []

    def spy(owner, name, label):
        inner = getattr(owner, name)

        def wrapped(*args, **kwargs):
            steps.append(label)
            return inner(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)

    for name in ("asked_round", "check_arrays", "load_records", "answer_arrays"):
        spy(vault_module, name, name)
    spy(AnswerSigner, "sign", "sign")
    for name in ("reserve", "open_attempt", "commit"):
        spy(Ledger, name, name)
    asked = request(plan, "train", 2, arrays=weights(plan))
    heads = promises(asked, {"north": vault})
    vault._records.clear()
    steps.clear()
    assert status(vault, replace(asked, heads=heads)) == "ok"
    assert steps == [
        "asked_round",
        "reserve",
        "check_arrays",
        "open_attempt",
        "load_records",
        "answer_arrays",
        "commit",
        "sign",
    ]
    steps.clear()
    assert status(vault, request(plan)) == "ok"
    assert steps[0] == "reserve"


def test_no_record_is_read_before_the_plan_is_reserved(homes, plan, vault, monkeypatch):
    monkeypatch.setattr(vault_module, "load_records", lambda *_: pytest.fail("records were read"))
    assert status(vault, request(plan, "statistic", 1, run="")) == "outside-plan"
    assert status(vault, request(plan, plan="0" * 64)) == "not-approved"
    assert kinds(homes["north"]) == ["genesis", "approve"]


def test_the_same_request_gets_the_same_bytes_for_free(homes, plan, vault):
    first = ask(vault, request(plan, "statistic", 1))
    again = ask(vault, request(plan, "statistic", 1, nonce="another"))
    assert np.array_equal(first.arrays["sum"], again.arrays["sum"])
    assert again.header.nonce == "another"
    assert kinds(homes["north"]).count("commit") == 1


def test_a_restarted_vault_sends_what_it_had_stored(homes, plan, vault):
    first = ask(vault, request(plan, "train", 2, arrays=weights(plan)))
    vault.close()
    with Vault(homes["north"]) as restarted:
        again = ask(restarted, request(plan, "train", 2, arrays=weights(plan)))
    assert all(np.array_equal(first.arrays[name], again.arrays[name]) for name in first.arrays)
    assert kinds(homes["north"]).count("commit") == 1


@pytest.mark.parametrize("key", ["noise_multiplier", "max_grad_norm", "sample_rate", "local_steps"])
def test_a_coordinator_that_asks_for_another_number_is_refused(homes, plan, vault, key):
    params = {**plan.rounds[1].params}
    params[key] = params[key] * 2
    asked = request(plan, "train", 2, params=params, arrays=weights(plan))
    assert status(vault, asked) == "outside-plan"
    assert kinds(homes["north"]) == ["genesis", "approve"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"round": 4}, "outside-plan"),  # the plan has three rounds
        ({"round": 0}, "outside-plan"),
        ({"query": "gradient"}, "outside-plan"),
        ({"query": "statistic"}, "outside-plan"),
        ({"roster": ("north",)}, "outside-plan"),  # fewer than the study's minimum
        ({"roster": ("east", "north", "south")}, "outside-plan"),
        ({"roster": ("south",)}, "outside-plan"),
        ({"roster": ("north", "north", "south")}, "outside-plan"),
        ({"study": "0" * 64}, "outside-plan"),
        ({"attempt": 2}, "outside-plan"),
        ({"void": ((),)}, "outside-plan"),
        ({"params": {}}, "outside-plan"),
        ({"plan": "0" * 64}, "not-approved"),
    ],
)
def test_what_the_plan_does_not_hold_is_refused_and_costs_nothing(
    homes, plan, vault, changes, expected
):
    asked = request(plan, "train", 2, **{"arrays": weights(plan), **changes})
    assert status(vault, asked) == expected
    assert "open" not in kinds(homes["north"])


def test_a_number_without_a_canonical_form_is_refused(homes, plan, vault):
    data = request(plan, "train", 2, params={"noise_multiplier": 9}).pack()
    data = data.replace(b'noise_multiplier\\":9', b'noise_multiplier\\":NaN')
    length = int.from_bytes(data[:8], "little") + 2  # NaN is two letters longer than 9
    answer = Answer.unpack(vault.handle(length.to_bytes(8, "little") + data[8:]))
    assert answer.header.status == "malformed"
    assert "open" not in kinds(homes["north"])


def test_the_same_attempt_with_other_weights_is_refused(homes, plan, vault):
    assert status(vault, request(plan, "train", 2, arrays=weights(plan))) == "ok"
    assert status(vault, request(plan, "train", 2, arrays=weights(plan, 0.02))) == "conflict"
    later = request(plan, "train", 2, arrays=weights(plan, 0.02), attempt=2)
    assert status(vault, later) == "outside-plan"  # in per-site trust no attempt is ever void
    assert kinds(homes["north"]).count("commit") == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_before_anything_is_opened(
    homes, plan, vault, value
):
    assert status(vault, request(plan, "train", 2, arrays=weights(plan, value))) == "malformed"
    assert "open" not in kinds(homes["north"])


def test_weights_of_another_model_are_refused(homes, plan, vault):
    arrays = weights(plan)
    name = next(iter(arrays))
    for wrong in (
        {},
        {**arrays, "extra": np.zeros(1, np.float32)},
        {**arrays, name: arrays[name][:-1]},
        {**arrays, name: arrays[name].astype(np.float64)},
    ):
        assert status(vault, request(plan, "train", 2, arrays=wrong)) == "malformed"
    assert "open" not in kinds(homes["north"])


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients"])
def test_an_empty_table_is_answered_like_any_other(tmp_path, homes, model):
    plan = make_plan(tmp_path / "study", homes, model)
    shapes = []
    for name, rows in (("north", 0), ("south", 100)):
        approve_at(homes[name], plan, table(100).iloc[:rows], clamp=True)
        with Vault(homes[name]) as vault:
            answers = [
                ask(
                    vault,
                    request(
                        plan,
                        asked.query,
                        asked.round,
                        arrays={} if asked.query == "statistic" else weights(plan),
                    ),
                )
                for asked in plan.rounds
            ]
        shapes.append([{n: (a.shape, a.dtype) for n, a in x.arrays.items()} for x in answers])
        for answer in answers:
            assert all(np.isfinite(a).all() and a.std() > 0 for a in answer.arrays.values())
    assert shapes[0] == shapes[1]


def test_an_error_during_computing_is_silence_and_the_attempt_is_computed_again(
    homes, plan, vault, monkeypatch
):
    def fails(*_, **__):
        raise ConfigError("record 17 has age ninety-three")

    with monkeypatch.context() as patch:
        patch.setattr(vault_module, "answer_arrays", fails)
        assert send(vault, request(plan, "statistic", 1)) == b""
    assert kinds(homes["north"])[-1] == "open"
    assert "record 17" in (homes["north"].path / "private.log").read_text()
    assert status(vault, request(plan, "statistic", 1)) == "ok"
    assert kinds(homes["north"]).count("open") == 1


def test_an_answer_whose_commit_fails_does_not_leave(homes, plan, vault, monkeypatch):
    def full(*_, **__):
        raise ConfigError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "commit", full)
        assert send(vault, request(plan, "statistic", 1)) == b""
    assert stored(homes["north"]) == 0


def test_answers_to_an_attempt_that_was_cut_off_differ(homes, plan, vault, monkeypatch):
    """An attempt that was opened and never answered draws fresh noise; the twin would not."""
    seen = []
    inner = vault_module.answer_arrays

    def keeps(*args, **kwargs):
        seen.append(inner(*args, **kwargs)["sum"])
        if len(seen) == 1:
            raise RuntimeError("cut off")
        return {"sum": seen[-1]}

    monkeypatch.setattr(vault_module, "answer_arrays", keeps)
    send(vault, request(plan, "statistic", 1))
    send(vault, request(plan, "statistic", 1))
    # Noise is of whole numbers, so one of some thirty may be the same by chance.
    assert len(seen) == 2 and np.isclose(seen[0], seen[1]).mean() < 0.5


def test_finish_closes_the_run_erases_answers_and_gives_the_extract(homes, plan, vault):
    ask(vault, request(plan))
    ask(vault, request(plan, "statistic", 1))
    assert stored(homes["north"]) == 1
    finish = request(plan, "finish")
    first, again = ask(vault, finish), ask(vault, finish)
    assert stored(homes["north"]) == 0
    summary = verify_extract(first.header.finished.extract, homes["north"].public_key())
    assert len(summary.run(plan.digest(), RUN).committed) == 1
    assert again.header.finished.extract == first.header.finished.extract
    assert status(vault, request(plan)) == "closed"
    assert status(vault, request(plan, "train", 2, arrays=weights(plan))) == "closed"


def test_a_run_that_is_not_known_cannot_be_finished(plan, vault):
    assert status(vault, request(plan, "finish")) == "conflict"


def test_a_pause_takes_effect_at_once_and_ends(homes, plan, vault):
    homes["north"].paused_path.touch()
    assert status(vault, request(plan)) == "not-approved"
    assert status(vault, request(plan, "finish")) == "not-approved"
    homes["north"].paused_path.unlink()
    assert status(vault, request(plan)) == "ok"
    assert kinds(homes["north"])[2:] == ["pause", "resume", "reserve"]


def test_a_revocation_takes_effect_at_once_and_frees_what_was_not_answered(homes, plan, vault):
    ask(vault, request(plan, "statistic", 1))
    homes["north"].forget_plan(plan.digest())
    asked = request(plan, "train", 2, arrays=weights(plan))
    assert status(vault, asked) == "not-approved"
    budget = read_ledger(homes["north"].path).budget()
    assert budget["epsilon_reserved"] == pytest.approx(budget["epsilon_spent"])
    assert 0 < budget["epsilon_spent"] < plan.privacy.epsilon
    finished = ask(vault, request(plan, "finish"))  # the coordinator still gets the extract
    assert finished.ok and finished.header.finished.extract


def test_a_plan_over_budget_is_refused_and_nothing_is_reserved(homes, plan):
    with Vault(homes["north"]) as vault:
        assert status(vault, request(plan, "statistic", 1, run="one")) == "ok"
        assert status(vault, request(plan, "finish", run="one")) == "ok"
    approve_at(homes["north"], plan, table(100))
    with Vault(homes["north"]) as vault:
        assert status(vault, request(plan, run="two")) == "budget"
    assert kinds(homes["north"]).count("reserve") == 1


def test_a_plan_beyond_the_policy_is_refused(homes, plan):
    text = template(name="north", source='path = "x.csv"', epsilon=8.0, delta=1e-3)
    homes["north"].config_path.write_text(text + 'models = ["mixture"]\n')
    with Vault(homes["north"]) as vault:
        assert status(vault, request(plan)) == "not-approved"
    assert "the policy allows mixture" in (homes["north"].path / "private.log").read_text()


def test_a_plan_or_records_that_changed_in_the_home_are_unavailable(homes, plan):
    home = homes["north"]
    snapshot = home.snapshot_path(plan.digest())
    kept = snapshot.read_bytes()
    snapshot.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with Vault(home) as vault:
        assert status(vault, request(plan)) == "unavailable"
        # What cannot be prepared promises nothing, so no round reaches the records.
        assert status(vault, request(plan, "statistic", 1)) == "stale"
    snapshot.write_bytes(kept)
    path = home.plan_path(plan.digest())
    path.write_text(path.read_text().replace('"min_sites":2', '"min_sites":1'))
    with Vault(home) as vault:
        assert status(vault, request(plan)) == "unavailable"
    assert "not the plan that was approved" in (home.path / "private.log").read_text()


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff" * 100])
def test_nonsense_is_refused(plan, vault, data):
    answer = Answer.unpack(vault.handle(data))
    assert answer.header.status == "malformed" and not answer.arrays


def test_a_disk_that_is_full_while_reserving_costs_nothing(homes, plan, vault):
    """The limit on file sizes stands in for the disk: SQLite sees a failed write either way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        assert status(vault, request(plan)) == "unavailable"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kinds(homes["north"]) == ["genesis", "approve"]
    vault.close()
    with Vault(homes["north"]) as again:
        assert status(again, request(plan)) == "ok"


def test_two_vaults_on_one_home(homes, vault):
    with pytest.raises(HomeInUseError, match="in use"):
        Vault(homes["north"])


def test_a_vault_does_not_start_on_a_damaged_ledger(homes, plan):
    path = homes["north"].path / "ledger.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LedgerError, match="backup"):
        Vault(homes["north"])


def test_a_seed_is_accepted_only_where_it_is_stamped(tmp_path, homes, plan):
    with pytest.raises(ConfigError, match="seed"):
        Vault(homes["north"], insecure_seed=1)
    stamped = make_home(tmp_path / "stamped", insecure=True)
    with pytest.raises(ConfigError, match="seed"):
        Vault(stamped)
    assert read_ledger(stamped.path).budget()["insecure_noise"] is True


def test_seeded_noise_belongs_to_the_attempt(tmp_path):
    sums = []
    for name in ("one", "two"):
        homes = {"north": make_home(tmp_path / name, insecure=True)}
        plan = make_plan(tmp_path / f"study-{name}", homes)
        approve_at(homes["north"], plan, table(100))
        with Vault(homes["north"], insecure_seed=7) as vault:
            sums.append(ask(vault, request(plan, "statistic", 1)).arrays["sum"])
    assert np.array_equal(*sums)
