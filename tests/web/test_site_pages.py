"""The steward's pages do what the commands do, and say what they say."""

from __future__ import annotations

import json

import pytest

from fedloom.client.home import Home
from fedloom.client.inbox import Inbox
from fedloom.common.audit_entries import Began, Ended, Message, MoreMessages
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import DiskFullError
from fedloom.common.vocabulary import Status
from fedloom.privacy.ledger import Ledger, read_ledger
from fedloom.privacy.ledger import head as ledger_head
from fedloom.privacy.ledger.entries import _KINDS
from fedloom.privacy.plan import Plan
from fedloom.privacy.receipt import Receipt
from fedloom.web.ledger_words import _words
from fedloom.web.refusals import _MEANINGS, refusals_in
from tests.federation import cli
from tests.web.visitor import steward, words


@pytest.fixture
def inside(home):
    visitor = steward(home)
    visitor.enter()
    return visitor


@pytest.fixture
def digest(home, plan_text):
    return Inbox(Home.open(home)).add(plan_text.encode()).digest()


def kinds(home):
    return [entry.read().kind for entry in read_ledger(home).entries]


def test_a_plan_goes_from_its_file_to_a_receipt(inside, home, plan_text, tmp_path):
    read = inside.post("inbox", plan=plan_text)
    digest = read.url.path.split("/")[-1]
    confirm = inside.get(f"plan/{digest}/confirm?runs=2")
    plan = Plan.load(home / "inbox" / f"{digest}.json")
    assert f"{plan.price(2).epsilon:.4g}" in words(confirm.text)
    assert kinds(home) == ["genesis"]
    done = inside.post(f"plan/{digest}/approve", runs="2", read="yes")
    assert done.status_code == 200 and kinds(home) == ["genesis", "approve"]
    assert read_ledger(home).grants(digest)[-1].num_runs == 2
    (tmp_path / "receipt").write_text(inside.get(f"receipt/{digest}").text)
    receipt = Receipt.load(tmp_path / "receipt")
    receipt.check(plan)
    assert receipt.runs == 2 and not (home / "inbox" / f"{digest}.json").exists()


def test_the_plan_is_told_in_the_words_of_the_command(inside, home, made, digest):
    told = cli("site", "plan", made[1], "--home", home).out
    page = words(inside.get(f"plan/{digest}").text)
    for line in told.splitlines():
        assert words(line.replace("<", "&lt;").replace(">", "&gt;")).strip() in page


def test_without_the_confirmation_nothing_is_signed(inside, home, digest):
    assert inside.post(f"plan/{digest}/approve", runs="1").status_code == 400
    assert kinds(home) == ["genesis"]


@pytest.mark.parametrize(
    "runs", ["0", "-1", "1001", "1.5", "", "९", "1" * 9, "00000512345", "9" * 5000]
)
def test_a_number_of_runs_that_is_none_is_refused(inside, home, digest, runs):
    assert inside.get(f"plan/{digest}/confirm", params={"runs": runs}).status_code == 400
    assert inside.post(f"plan/{digest}/approve", runs=runs, read="yes").status_code == 400
    assert kinds(home) == ["genesis"]


def test_a_plan_beyond_the_policy_cannot_be_approved(inside, home, digest):
    config = home / "site.toml"
    config.write_text(config.read_text().replace("epsilon = 3.0", "epsilon = 0.5"))
    assert "cannot be approved" in inside.get(f"plan/{digest}").text
    assert inside.get(f"plan/{digest}/confirm?runs=1").status_code == 400
    assert inside.post(f"plan/{digest}/approve", runs="1", read="yes").status_code == 400
    assert kinds(home) == ["genesis"]


def test_records_that_do_not_fit_are_not_told_on_the_page(inside, home, made, digest):
    records = made[0].homes["north"].parent / "north-records.csv"
    strange = home.parent / "records.csv"
    rows = records.read_text().splitlines()
    strange.write_text("\n".join([rows[0], *("77,female,peculiar" for _ in rows[1:])]))
    config = home / "site.toml"
    config.write_text(config.read_text().replace(str(records), str(strange)))
    refused = inside.post(f"plan/{digest}/approve", runs="1", read="yes")
    assert refused.status_code == 400 and kinds(home) == ["genesis"]
    assert "peculiar" not in refused.text and "visited" not in refused.text
    told = cli("site", "approve", made[1], "--home", home, "--yes")
    assert told.code == 2 and "visited" in told.err  # the twin: the terminal says which column


def test_what_does_not_fit_is_accepted_column_by_column(inside, home, made, digest):
    records = made[0].homes["north"].parent / "north-records.csv"
    strange = home.parent / "records.csv"
    strange.write_text(records.read_text().replace("female", "peculiar"))
    config = home / "site.toml"
    config.write_text(config.read_text().replace(str(records), str(strange)))
    asked = f"plan/{digest}/confirm?runs=1&clamp=yes&clamp_column=sex&clamp_column=unknown"
    assert "unknown" not in inside.get(asked).text
    inside.post(f"plan/{digest}/approve", runs="1", read="yes", clamp_column="sex")
    assert kinds(home) == ["genesis", "approve"]


def test_refusing_puts_a_plan_aside_and_signs_nothing(inside, home, digest, plan_text):
    inside.post(f"plan/{digest}/refuse")
    inbox, ledger = Inbox(Home.open(home)), read_ledger(home)
    assert inbox.waiting(ledger) == ([], []) and [p.digest() for p in inbox.refused()] == [digest]
    assert kinds(home) == ["genesis"]
    inside.post("inbox", plan=plan_text)
    assert len(inbox.waiting(ledger)[0]) == 1 and inbox.refused() == []


def test_revoking_ends_an_approval(inside, home, digest):
    inside.post(f"plan/{digest}/approve", runs="1", read="yes")
    inside.post(f"revoke/{digest}")
    assert kinds(home) == ["genesis", "approve", "revoke"]
    assert inside.get(f"receipt/{digest}").status_code == 400
    assert not list((home / "snapshots").iterdir())


def test_pausing_and_answering_again_are_signed(inside, home):
    inside.post("pause", paused="yes")
    inside.post("pause", paused="no")
    assert kinds(home) == ["genesis", "pause", "resume"]


def test_an_approval_waits_while_a_vault_holds_the_ledger(inside, home, digest, monkeypatch):
    monkeypatch.setattr(ledger_head, "_PATIENCE_S", 0.05)
    with Ledger.open(home, Home.open(home).private_key()):
        refused = inside.post(f"plan/{digest}/approve", runs="1", read="yes")
        inside.post("pause", paused="yes")
    assert refused.status_code == 400 and kinds(home) == ["genesis"]
    assert Home.open(home).paused_path.exists()


def test_the_budget_page_shows_the_entries_and_the_numbers_of_the_command(
    inside, home, made, digest
):
    inside.post(f"plan/{digest}/approve", runs="1", read="yes")
    page = words(inside.get("budget").text)
    shown = cli("budget", "show", home, "--json").json
    standing = inside.get("api/standing").json()
    assert standing["budget"] == shown
    assert "for one run" in page and "ledger begun" in page


def test_a_part_that_refreshes_itself_follows_the_home(inside, home):
    before = inside.get("api/parts/now").json()["html"]
    Home.open(home).paused_path.touch()
    assert "paused" not in before
    assert "paused" in inside.get("api/parts/now").json()["html"]


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": "other"}), "\0"])
def test_what_is_no_plan_is_not_taken_in(inside, home, text):
    assert inside.post("inbox", plan=text).status_code == 400
    assert not (home / "inbox").exists()


def test_a_file_that_is_no_plan_is_shown_with_the_reason(inside, home, tmp_path):
    folder = home / "inbox"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    (folder / "link.json").symlink_to(home / "key.pem")
    page = inside.get().text
    assert "broken.json" in page and "link.json" in page and "PRIVATE KEY" not in page


def test_a_ledger_that_does_not_verify_is_said_on_every_page(inside, home):
    database = home / "ledger.db"
    database.write_bytes(database.read_bytes()[:5000])
    answer = inside.get()
    assert answer.status_code == 400 and "ledger" in answer.text


def test_preflight_says_what_the_command_says(inside, home):
    said = cli("site", "preflight", "--home", home, "--json").json["checks"]
    page = words(inside.get("site/preflight").text)
    assert all(check["detail"].split(" GiB")[0][:3] in page for check in said)
    assert page.count("passed") == sum(check["passed"] for check in said)


def test_ending_the_session_closes_the_page(inside):
    inside.post("leave")
    assert inside.get().status_code == 403 and len(inside.links) == 2


def test_every_kind_of_entry_has_words():
    data = {"epsilon_limit": 3.0, "delta_limit": 1e-5, "name": "x", "runs": 2, "query": "statistic"}
    assert all(_words(kind, data) for kind in _KINDS)


def test_what_is_decided_stands_in_the_audit_log(inside, home, digest):
    inside.post("pause", paused="yes")
    inside.post(f"plan/{digest}/approve", runs="2", read="yes", clamp_column="sex")
    inside.post(f"plan/{digest}/approve", runs="1", read="yes")
    said = [line.entry for line in AuditLog(home).lines() if line.entry.__class__ is Began]
    ended = [line.entry.exit_code for line in AuditLog(home).lines() if type(line.entry) is Ended]
    words = [entry.words for entry in said if entry.words[:2] == ("site", "web")]
    assert words[0] == ("site", "web", "pause")
    assert words[1] == ("site", "web", "approve", digest, "runs=2", "clamp_column=sex")
    assert ended[-3:] == [0, 0, 2]


def test_nothing_is_done_that_cannot_be_noted(inside, home, monkeypatch):
    def full(*_):
        raise DiskFullError("the disk is full")

    monkeypatch.setattr(AuditLog, "append", full)
    assert inside.post("pause", paused="yes").status_code == 400
    assert not Home.open(home).paused_path.exists()


def test_refusals_are_counted_by_code(inside, home):
    log = AuditLog(home)
    log.append(Message(outcome="ok"), Message(outcome="budget"), Message(outcome="budget"))
    log.append(MoreMessages(outcomes={"unsigned": 40, "ok": 3}))
    shown = [(one.code, one.number) for one in refusals_in(log.lines())]
    assert shown == [("unsigned", 40), ("budget", 2)]
    assert "the ledger has no room" in inside.get("site").text


def test_an_audit_log_that_was_changed_is_said_on_the_page(inside, home):
    log = AuditLog(home)
    log.append(Message(outcome="budget"), Message(outcome="budget"))
    log.path.write_text(log.path.read_text().replace("budget", "closed", 1))
    assert "chain is broken" in inside.get("site").text


def test_every_code_of_a_refusal_has_a_meaning():
    assert set(_MEANINGS) == set(Status) - {Status.OK}


@pytest.mark.parametrize("before", ["0", "1", "-1", "x", "٣", "9" * 5000])
def test_any_place_in_the_ledger_may_be_asked_for(inside, before):
    assert inside.get("budget", params={"before": before}).status_code == 200
