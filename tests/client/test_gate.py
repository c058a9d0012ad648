"""Nobody but the coordinator of an approved plan changes anything at a vault."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import shutil

import numpy as np
import pytest

import fedloom.client.gate as gate_module
from fedloom.client.gate import Gate
from fedloom.client.home import Home
from fedloom.client.request_check import largest_request
from fedloom.client.vault import Vault
from fedloom.common.messages import MAX_HEADER_BYTES, Answer, Request, Unopened
from fedloom.common.models import build_model
from fedloom.common.vocabulary import Query
from fedloom.privacy.keys import generate_key
from fedloom.privacy.ledger import Ledger, read_ledger
from tests.federation import (
    COORDINATOR,
    approve_at,
    ask,
    make_home,
    make_plan,
    promises,
    request,
    signed,
    status,
    table,
)


@pytest.fixture(scope="module")
def approved(tmp_path_factory):
    """Homes of which one has approved a plan and was asked nothing yet; not to be changed."""
    folder = tmp_path_factory.mktemp("approved")
    homes = {name: make_home(folder / name, name) for name in ("north", "south")}
    plan = make_plan(folder / "study", homes, "gradients")
    approve_at(homes["north"], plan, table(100))
    return folder, plan


@pytest.fixture
def plan(approved):
    return approved[1]


@pytest.fixture
def homes(approved, tmp_path):
    shutil.copytree(approved[0], tmp_path / "homes")
    return {name: Home.open(tmp_path / "homes" / name) for name in ("north", "south")}


@pytest.fixture
def vault(homes, plan):
    with Vault(homes["north"]) as vault:
        yield vault


@pytest.fixture
def stranger(tmp_path):
    return generate_key(tmp_path / "stranger.key")


def weights(plan) -> dict[str, np.ndarray]:
    shapes = build_model(plan.model, plan.encoding).request_shapes()
    return {name: np.full(shape, 0.01, dtype=np.float32) for name, shape in shapes.items()}


def whole_run(plan) -> list[Request]:
    """All that a coordinator asks of one site, from the first message to the last."""
    steps = [
        request(plan, one.query, one.round, arrays={} if one.round == 1 else weights(plan))
        for one in plan.rounds
    ]
    return [request(plan), *steps, request(plan, "finish")]


def written(home) -> dict[str, bytes]:
    """All that a home holds, but the files that SQLite keeps beside its database."""
    return {
        path.name: path.read_bytes()
        for path in home.path.rglob("*")
        if path.is_file() and path.name not in ("ledger.db-shm", "ledger.db-wal")
    }


def kinds(home) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home.path).entries]


def test_a_stranger_can_neither_begin_nor_finish_nor_ask(homes, plan, vault, stranger):
    """Also in the middle of a run, and in the words of the coordinator."""
    for own in whole_run(plan):
        before = (kinds(homes["north"]), written(homes["north"]))
        for asked in whole_run(plan):
            assert status(vault, asked, stranger) == "unsigned"
            assert Answer.unpack(vault.handle(asked.pack())).header.status == "unsigned"
        assert (kinds(homes["north"]), written(homes["north"])) == before
        assert status(vault, own) == "ok"
    assert kinds(homes["north"]).count("commit") == len(plan.rounds)


def test_without_the_check_a_stranger_finishes_the_run(homes, plan, vault, stranger, monkeypatch):
    """The twin: what the test above would see if signatures were not held against the plan."""
    ask(vault, request(plan))
    monkeypatch.setattr(gate_module, "verify", lambda key, data, signature: True)
    assert status(vault, request(plan, "finish"), stranger) == "ok"
    assert kinds(homes["north"])[-1] == "finish"


@pytest.mark.parametrize(
    "change",
    [
        {"nonce": "another"},
        {"run": "another"},
        {"round": 2},
        {"void": (("north", "south"),)},
        {"roster": ("north",)},
        {"params": {"noise_multiplier": 0.1}},
        {"query": Query.PREPARE},
        {"query": Query.FINISH},
        {"study": "0" * 64},
        {"arrays": {"groups": np.zeros(3, np.int32)}},
    ],
)
def test_the_signature_covers_every_part_of_a_request(homes, plan, vault, change):
    asked = Request.unpack(signed(request(plan, "statistic", 1)))
    forged = dataclasses.replace(asked, **change)
    assert Answer.unpack(vault.handle(forged.pack())).header.status == "unsigned"
    assert kinds(homes["north"]) == ["genesis", "approve"]


def test_a_signature_for_one_plan_does_not_serve_for_another(tmp_path, homes, plan, vault):
    """The same coordinator, and a home that has approved both."""
    vault.close()
    other = make_plan(tmp_path / "other", homes)
    approve_at(homes["north"], other, table(100))
    asked = Request.unpack(signed(request(plan, "statistic", 1)))
    with Vault(homes["north"]) as again:
        moved = dataclasses.replace(asked, plan=other.digest(), study=other.study_digest)
        assert Answer.unpack(again.handle(moved.pack())).header.status == "unsigned"
        assert status(again, request(other, "statistic", 1)) == "ok"


def test_arrays_of_a_stranger_are_not_read(plan, vault, monkeypatch):
    monkeypatch.setattr(Unopened, "open", lambda unopened: pytest.fail("arrays were read"))
    asked = request(plan, "gradient", 2, arrays=weights(plan))
    assert Answer.unpack(vault.handle(asked.pack())).header.status == "unsigned"


def test_an_array_that_was_exchanged_under_a_signature_is_refused(homes, plan, vault):
    data = bytearray(signed(request(plan, "gradient", 2, arrays=weights(plan))))
    data[-1] ^= 1
    assert Answer.unpack(vault.handle(bytes(data))).header.status == "malformed"
    assert "open" not in kinds(homes["north"])


def replayed(vault, recorded: list[bytes], rng: random.Random) -> list[str]:
    """Sends everything once more, in any order, and returns what it was told."""
    shuffled = rng.sample(recorded, len(recorded))
    return [str(Answer.unpack(vault.handle(data)).header.status) for data in shuffled]


def test_a_replay_at_any_time_changes_nothing(homes, plan, vault):
    """Whoever recorded the messages gets the stored bytes again, and after the end not even them.

    In each moment of the run all that was sent so far comes once more, in random order.
    """
    rng, recorded, answers = random.Random(7), [], {}
    for asked in whole_run(plan):
        if asked.round:
            asked = dataclasses.replace(asked, heads=promises(asked, {"north": vault}))
        data = signed(asked)
        answer = Answer.unpack(vault.handle(data))
        assert answer.ok
        recorded.append(data)
        if answer.arrays:
            answers[data] = answer.arrays["sum"]
        before = written(homes["north"])
        told = replayed(vault, recorded, rng)
        assert written(homes["north"]) == before
        assert set(told) <= ({"ok", "closed"} if asked.query == "finish" else {"ok"})
        for data, sent in () if asked.query == "finish" else answers.items():
            assert np.array_equal(Answer.unpack(vault.handle(data)).arrays["sum"], sent)
    vault.close()
    with Vault(homes["north"]) as restarted:
        before = written(homes["north"])
        assert sorted(set(replayed(restarted, recorded, rng))) == ["closed", "ok"]
        assert written(homes["north"]) == before
    assert kinds(homes["north"]).count("reserve") == 1


def test_a_ledger_that_forgot_finished_runs_would_reserve_again_on_a_replay(
    homes, plan, vault, monkeypatch
):
    """The twin of the test above."""
    first = signed(request(plan))
    vault.handle(first)
    ask(vault, request(plan, "finish"))
    finish = vault._ledger._state.reservations
    monkeypatch.setattr(vault._ledger._state, "reservations", {})
    before = written(homes["north"])
    with contextlib.suppress(Exception):
        replayed(vault, [first], random.Random(7))
    assert finish and written(homes["north"]) != before


def test_a_replayed_finish_gives_the_extract_that_a_release_publishes(homes, plan, vault):
    ask(vault, request(plan))
    finish = signed(request(plan, "finish"))
    first, again = (Answer.unpack(vault.handle(finish)) for _ in range(2))
    assert first.header.finished.extract == again.header.finished.extract


def test_the_coordinator_of_a_revoked_plan_still_finishes_its_run(homes, plan, vault, stranger):
    ask(vault, request(plan, "statistic", 1))
    homes["north"].forget_plan(plan.digest())
    finish = request(plan, "finish")
    assert status(vault, finish, stranger) == "unsigned"
    assert ask(vault, finish).header.finished.extract


@pytest.mark.parametrize(
    "changes",
    [
        {"arrays": {"w": np.zeros(1, np.float32)}},
        {"params": {"noise_multiplier": 1.0}},
        {"round": 1},
        {"void": (("north", "south"),)},
    ],
)
def test_prepare_and_finish_take_nothing(homes, plan, vault, changes):
    for query in ("prepare", "finish"):
        assert status(vault, request(plan, query, **changes)) == "malformed"
    assert kinds(homes["north"]) == ["genesis", "approve"]


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients", "gan"])
def test_the_largest_request_holds_every_request_of_a_run_and_little_more(tmp_path, model):
    homes = {name: make_home(tmp_path / name, name) for name in ("north", "south")}
    plan = make_plan(tmp_path / "study", homes, model)
    for asked in plan.rounds:
        arrays = {}
        if asked.query in ("gradient", "train"):
            arrays = weights(plan)
        elif asked.phase.statistic == "pairwise":
            arrays = {"groups": np.zeros(plan.encoding.width, np.int32)}
        size = len(signed(request(plan, asked.query, asked.round, arrays=arrays)))
        most = largest_request(plan, asked.query)
        assert size <= most <= size + MAX_HEADER_BYTES
    assert largest_request(plan, Query.PREPARE) < MAX_HEADER_BYTES + 100


def test_a_message_larger_than_any_plan_allows_is_refused_before_it_is_read(
    homes, plan, vault, monkeypatch
):
    """Signed or not; a plan that was not approved, or is revoked, makes no room."""
    gate = Gate(homes["north"], vault._ledger)
    assert gate.largest_request() == max(largest_request(plan, query) for query in Query)
    wide = {"w": np.zeros(gate.largest_request() // 4, np.float32)}
    narrow = {"w": np.zeros(MAX_HEADER_BYTES // 4, np.float32)}
    monkeypatch.setattr(Unopened, "open", lambda unopened: pytest.fail("arrays were read"))
    assert status(vault, request(plan, "gradient", 2, arrays=wide)) == "malformed"
    # What a gradient may have a prepare may not.
    assert status(vault, request(plan, arrays=narrow)) == "malformed"
    homes["north"].forget_plan(plan.digest())
    vault.record_decisions()
    assert vault.largest_request() == 8 + MAX_HEADER_BYTES


def test_a_header_without_end_is_not_parsed(vault, monkeypatch):
    data = (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b'{"__metadata__":' + b" " * 100
    assert Answer.unpack(vault.handle(data)).header.status == "malformed"


def test_a_ledger_knows_the_coordinator_of_each_plan(homes, plan, vault):
    vault.close()
    with Ledger.open(homes["north"].path, homes["north"].private_key()) as ledger:
        assert ledger.coordinator(plan.digest()) == plan.coordinator_key
        assert ledger.coordinator("0" * 64) is None
    assert plan.coordinator_key == COORDINATOR.public_key().public_bytes_raw().hex()
