"""The coordinator against sites that are silent, wrong, late or gone, with real vaults behind."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from fedloom.client.vault import Vault
from fedloom.common import version
from fedloom.common.errors import (
    IncompleteError,
    LedgerError,
    NotApprovedError,
    QuorumError,
    RefusedError,
)
from fedloom.common.messages import Answer, Request, arrays_digest
from fedloom.common.study import load_study
from fedloom.common.vocabulary import Query
from fedloom.privacy.keys import sign
from fedloom.privacy.ledger import read_ledger
from fedloom.server.coordinate import coordinate
from fedloom.server.head_registry import HeadRegistry
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare
from tests.federation import make, signed

SITES = ("east", "north", "south")
Tamper = Callable[[str, Request, bytes], bytes]


class DirectLink:
    """Calls the vaults; `tamper` may put itself between any of them and the coordinator."""

    def __init__(self, vaults: dict[str, Vault], tamper: Tamper | None = None) -> None:
        self.vaults, self.tamper = vaults, tamper
        self.requests: list[Request] = []

    def ask(self, requests, timeout_s, progress=None):
        replies = {}
        for site, data in requests.items():
            request = Request.unpack(data)
            self.requests.append(request)
            reply = self.vaults[site].handle(data)
            replies[site] = self.tamper(site, request, reply) if self.tamper else reply
        return replies


@pytest.fixture
def prepared(tmp_path):
    """Three sites, of which two are enough."""
    federation = make(tmp_path / "study", "weights", sites=SITES)
    study, schema = load_study(federation.study)
    tables = {name: federation.data(name) for name in SITES}
    return prepare(study, schema, tables, out=tmp_path / "run", homes={})


@pytest.fixture
def vaults(prepared):
    opened = {name: Vault.open(prepared.path / "sites" / name) for name in SITES}
    yield opened
    for vault in opened.values():
        vault.close()


def commits(prepared: RunFolder, site: str) -> int:
    entries = read_ledger(prepared.path / "sites" / site).entries
    return [entry.read().kind for entry in entries].count("commit")


def resigned(prepared: RunFolder, site: str, reply: bytes, change: Callable[[Answer], None]):
    """What a site itself would send if it computed something else."""
    from fedloom.client.home import Home

    answer = Answer.unpack(reply)
    changed = Answer(header=answer.header, arrays=dict(answer.arrays))
    change(changed)
    header = msgspec.structs.replace(changed.header, arrays_digest=arrays_digest(changed.arrays))
    changed = Answer(header=header, arrays=changed.arrays)
    key = Home.open(prepared.path / "sites" / site).private_key()
    signature = sign(key, changed.signed_bytes())
    return Answer(header=header, arrays=changed.arrays, signature=signature).pack()


def test_a_run_comes_to_its_end_and_leaves_nothing_that_is_private(prepared, vaults):
    events = []
    coordinate(prepared.path, DirectLink(vaults), on_event=events.append)
    assert prepared.done() and prepared.generator().kind == "vae"
    assert not prepared.checkpoints.exists()
    assert [event["event"] for event in events] == ["start", "round", "round", "round", "done"]
    for site in SITES:
        assert commits(prepared, site) == 3 and prepared.has_extract(site)
        budget = read_ledger(prepared.path / "sites" / site).budget()
        price = prepared.plan().stated_price.epsilon
        assert budget["epsilon_spent"] == pytest.approx(price, rel=1e-9)
        assert budget["epsilon_reserved"] == pytest.approx(price, rel=1e-9)
        view = read_ledger(prepared.path / "sites" / site)
        newest = HeadRegistry(prepared.heads_path).newest(view.public_key)
        assert (newest.head.seq, newest.head.hash) == view.head
    coordinate(prepared.path, DirectLink({}))  # a run that is done asks nobody


def bad_values(answer: Answer) -> None:
    for name, array in answer.arrays.items():
        answer.arrays[name] = np.full(array.shape, np.nan, dtype=np.float32)


def bad_shape(answer: Answer) -> None:
    for name, array in answer.arrays.items():
        answer.arrays[name] = array[..., :-1]


def bad_name(answer: Answer) -> None:
    answer.arrays["more"] = np.zeros(1)


def huge(answer: Answer) -> None:
    for name, array in answer.arrays.items():
        answer.arrays[name] = np.full(array.shape, 1e30, dtype=np.float32)


@pytest.mark.parametrize("change", [bad_values, bad_shape, bad_name, huge])
def test_an_unusable_answer_is_dropped_and_the_quorum_goes_on(prepared, vaults, change):
    def tamper(site, request, reply):
        if site != "north" or request.round == 0:
            return reply
        return resigned(prepared, site, reply, change)

    events = []
    coordinate(prepared.path, DirectLink(vaults, tamper), on_event=events.append)
    assert prepared.done()
    assert [line["sites"] for line in prepared.metrics()] == [["east", "south"]] * 3
    assert {event["site"] for event in events if event["event"] == "dropped"} == {"north"}
    spent = prepared.metrics()[-1]["epsilon"]
    assert set(spent) == {"east", "south"}


@pytest.mark.parametrize("wrong", ["key", "name", "silence", "replay"])
def test_an_answer_that_is_not_the_sites_own_is_dropped(prepared, vaults, wrong):
    def tamper(site, request, reply):
        if site != "north" or request.round == 0:
            return reply
        if wrong == "silence":
            return b""
        if wrong == "replay":
            earlier = dataclasses.replace(request, nonce="yesterday")
            return vaults["north"].handle(signed(earlier, prepared.key()))
        if wrong == "name":
            return vaults["south"].handle(request.pack())
        return resigned(prepared, "south", reply, lambda answer: None)

    coordinate(prepared.path, DirectLink(vaults, tamper))
    assert [line["sites"] for line in prepared.metrics()] == [["east", "south"]] * 3


def test_too_few_answers_aggregate_nothing_and_the_run_resumes(prepared, vaults):
    away = {"north", "south"}

    def tamper(site, request, reply):
        return b"" if site in away and request.round == 2 else reply

    with pytest.raises(QuorumError, match=r"round 2: 1 of 3 .* needs 2 .*north: silence.*resume"):
        coordinate(prepared.path, DirectLink(vaults, tamper))
    assert [line["round"] for line in prepared.metrics()] == [1]
    away.clear()
    link = DirectLink(vaults, tamper)
    coordinate(prepared.path, link)
    assert prepared.done()
    assert {request.round for request in link.requests} == {0, 2, 3}
    assert [commits(prepared, site) for site in SITES] == [3, 3, 3]


def test_a_site_that_comes_back_after_the_statistics_counts_as_the_average(prepared, vaults):
    def tamper(site, request, reply):
        return b"" if site == "north" and request.round == 1 else reply

    coordinate(prepared.path, DirectLink(vaults, tamper))
    assert [len(line["sites"]) for line in prepared.metrics()] == [2, 3, 3]
    assert set(prepared.statistics().site_totals) == {"east", "south"}


def test_a_refusal_before_the_start_gives_every_reservation_back(prepared, vaults):
    paused = prepared.path / "sites" / "south" / "paused"
    paused.touch()
    with pytest.raises(NotApprovedError, match="fedloom site approve .*plan.json.*nothing was spe"):
        coordinate(prepared.path, DirectLink(vaults))
    for site in SITES:
        budget = read_ledger(prepared.path / "sites" / site).budget()
        assert budget["epsilon_reserved"] == 0.0
    paused.unlink()
    coordinate(prepared.path, DirectLink(vaults))
    assert prepared.done()


def test_a_site_that_is_revoked_in_between_is_left_out(prepared, vaults):
    def tamper(site, request, reply):
        if site == "north" and request.round == 1:
            vaults["north"]._home.forget_plan(prepared.plan().digest())
        return reply

    coordinate(prepared.path, DirectLink(vaults, tamper))
    assert [len(line["sites"]) for line in prepared.metrics()] == [3, 2, 2]
    assert prepared.has_extract("north")


def test_a_ledger_older_than_the_one_that_was_seen_ends_the_run(prepared, vaults, tmp_path):
    """A site restores a backup from before the run and would spend the same budget twice."""
    import shutil

    home = prepared.path / "sites" / "north"
    vaults.pop("north").close()
    shutil.copytree(home, tmp_path / "backup")
    vaults["north"] = Vault.open(home)

    def stops(site, request, reply):
        return b"" if request.round == 2 else reply

    with pytest.raises(QuorumError):
        coordinate(prepared.path, DirectLink(vaults, stops))
    vaults.pop("north").close()
    shutil.rmtree(home)
    shutil.copytree(tmp_path / "backup", home)
    vaults["north"] = Vault.open(home)
    with pytest.raises(LedgerError, match=r"'north'.*does not hold entry.*site restore"):
        coordinate(prepared.path, DirectLink(vaults))


def test_an_extract_that_does_not_hold_leaves_the_run_resumable(prepared, vaults):
    def tamper(site, request, reply):
        if site != "north" or request.query != "finish":
            return reply

        def cut(answer: Answer) -> None:
            answer.header.finished.extract[2]["hash"] = "0" * 64

        return resigned(prepared, site, reply, cut)

    with pytest.raises(IncompleteError, match="north"):
        coordinate(prepared.path, DirectLink(vaults, tamper))
    assert not prepared.done() and prepared.generator_path.exists()
    coordinate(prepared.path, DirectLink(vaults))
    assert prepared.done() and [commits(prepared, site) for site in SITES] == [3, 3, 3]


def test_a_run_that_was_closed_elsewhere_cannot_go_on(prepared, vaults):
    def stops(site, request, reply):
        return b"" if request.round == 2 else reply

    with pytest.raises(QuorumError):
        coordinate(prepared.path, DirectLink(vaults, stops))
    run, plan = prepared.state()["run"], prepared.plan()
    closing = Request(query=Query.FINISH, study=plan.study_digest, plan=plan.digest(), run=run)
    vaults["east"].handle(signed(closing, prepared.key()))
    with pytest.raises(RefusedError, match="closed"):
        coordinate(prepared.path, DirectLink(vaults))


def test_a_site_of_another_minor_version_is_told_with_both_versions(prepared, vaults, monkeypatch):
    monkeypatch.setattr(version, "VERSION", "0.99.0")
    with pytest.raises(
        RefusedError, match=rf"0\.99\.0.*{prepared.plan().fedloom} resolved.*nothing"
    ):
        coordinate(prepared.path, DirectLink(vaults))


def test_run_json_holds_no_more_of_sites_than_runs_and_versions(prepared, vaults):
    coordinate(prepared.path, DirectLink(vaults))
    state = json.loads((prepared.path / "run.json").read_text())
    assert {key for site in state["sites"].values() for key in site} == {"runs", "versions"}
