"""The coordinator's pages say what the commands say, and stop a run as they do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedloom.common.audit_entries import Began, Message
from fedloom.common.audit_log import AuditLog
from fedloom.common.digest import sha256_hex
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import current_status
from fedloom.web import coordinator_view
from fedloom.web.coordinator_view import CoordinatorReader
from tests.federation import cli
from tests.web.conftest import HOSTILE
from tests.web.runs import at_work, begun
from tests.web.visitor import ORIGIN, coordinator, words


@pytest.fixture
def home(coordinated, tmp_path):
    """A copy of the coordinator's home, with a second run that is not done."""
    copied = tmp_path / "fed"
    shutil.copytree(coordinated, copied)
    run = begun(coordinated.parent / "run", tmp_path / "second", copied)
    CoordinatorHome.open(copied).note_run(run)
    return copied


@pytest.fixture
def inside(home, monkeypatch):
    monkeypatch.setattr(coordinator_view, "_FRESH_S", 0.0)
    visitor = coordinator(home)
    visitor.enter()
    return visitor


def ids(home):
    """How the pages name the runs: the finished one, the other."""
    return [sha256_hex(str(path).encode())[:16] for path in CoordinatorHome.open(home).runs()]


def watched(home, number):
    return cli("watch", CoordinatorHome.open(home).runs()[number], "--json").json


def test_the_first_page_names_institutions_and_says_that_the_servers_are_down(inside, home):
    page = words(inside.get().text)
    for card in CoordinatorHome.open(home).cards():
        assert card.name in page and card.fingerprint() in page
    assert "coordinator up" in page and "2 institutions invited" in page


def test_who_is_online_is_shown_by_name(inside, home, monkeypatch):
    said = {
        "up": "process 7 of this machine",
        "programs": {"gateway": {"pid": 7, "restarts": 2}},
        "superlink": True,
        "institutions": [
            {"name": "north", "fingerprint": "", "registered": True, "online": True},
            {"name": "south", "fingerprint": "", "registered": False, "online": False},
        ],
    }
    monkeypatch.setattr(coordinator_view, "describe", lambda home: said)
    page = words(inside.get().text)
    assert "1 of 2" in page and "online" in page and "offline not registered" in page
    run = words(inside.get(f"runs/{ids(home)[0]}").text)
    assert "online" in run and "offline" in run


def test_runs_are_told_as_the_commands_tell_them(inside, home):
    standings = {run["run"]: run for run in cli("runs", "--coordinator", home, "--json").json}
    shown = inside.get("api/standing").json()["runs"]
    assert [run["standing"]["run"] for run in shown] == list(standings)
    for run in shown:
        assert run["standing"] == standings[run["standing"]["run"]]
    page = inside.get("runs").text
    assert "done" in page and HOSTILE not in page and HOSTILE in words(page)


def test_a_runs_page_shows_receipts_rounds_epsilon_and_void_attempts(inside, home):
    finished, other = ids(home)
    page = words(inside.get(f"runs/{finished}").text)
    assert page.count("sent") == 2 and "2 of 2" in page and "release build" in page
    spent = {f"{site['epsilon']:.4g}" for site in watched(home, 0)["sites"]}
    assert spent and all(epsilon in page for epsilon in spent)
    page = words(inside.get(f"runs/{other}").text)
    assert "answered by north alone" in page and "--resume" in page
    assert "too few sites answered" in page and "not told yet" in page


@pytest.mark.parametrize("run", ["0" * 16, "..", "%2e%2e", "x"])
def test_a_run_that_is_not_in_the_list_is_not_shown(inside, run):
    assert inside.get(f"runs/{run}").status_code in (400, 403, 404)


def test_a_run_under_way_is_stopped_and_can_be_resumed(inside, home):
    run, folder = ids(home)[1], home.parent / "second"
    with at_work(folder) as process:
        assert "Stop this run" in inside.get(f"runs/{run}").text
        assert inside.post(f"runs/{run}/stop").status_code == 400  # not confirmed
        assert process.poll() is None
        stopped = inside.post(f"runs/{run}/stop", sure="yes")
        assert process.wait(10) != 0
    assert "is stopped" in stopped.text and current_status(folder).state == "failed"
    noted = [line.entry.words for line in AuditLog(home).lines() if type(line.entry) is Began]
    assert noted[-1] == ("coordinator", "web", "stop", str(folder))


def test_another_sites_page_stops_nothing(inside, home):
    run = ids(home)[1]
    with at_work(home.parent / "second") as process:
        address = f"{inside.door.base}/runs/{run}/stop"
        form = {"sure": "yes", "form_token": inside.form_token()}
        foreign = {"origin": "https://evil.example"}
        assert inside.client.post(address, data=form, headers=foreign).status_code == 403
        del form["form_token"]
        own = {"origin": ORIGIN}
        assert inside.client.post(address, data=form, headers=own).status_code == 403
        assert process.poll() is None


def test_a_run_that_cannot_be_read_hides_no_other(inside, home):
    (home.parent / "second" / "plan.json").write_text("{}")
    page = inside.get("runs").text
    assert "second" in page and "cannot be read" in page and "done" in page


def test_a_release_is_checked_against_the_coordinators_own_key(inside, home):
    release = home / "releases" / "first"
    release.parent.mkdir()
    built = cli("release", "build", home.parent / "second", "--out", release)
    assert built.code != 0  # it is not done
    finished = CoordinatorHome.open(home).runs()[0]
    assert cli("release", "build", finished, "--out", release).code == 0
    assert HOSTILE in words(inside.get("releases").text)
    # The run was signed with another key than that of this home.
    assert "does not verify" in words(inside.get("releases/first").text)
    shutil.copy(finished / "coordinator.key", home / "coordinator.key")
    again = coordinator(home)
    again.enter()
    assert "what its publisher signed" in words(again.get("releases/first").text)
    rotated = cli("coordinator", "rotate", "--coordinator", home, "--out", home / "kit", "--yes")
    assert rotated.code == 0, rotated.err
    assert "what its publisher signed" in words(again.get("releases/first").text)
    table = next((release / "data").glob("*.csv"))
    table.write_text(table.read_text().replace("female", "male", 1))
    assert "does not verify" in words(again.get("releases/first").text)


def test_the_last_answer_of_each_site_comes_from_the_audit_log(inside, home):
    log = AuditLog(home)
    log.append(Message(outcome="ok", site="north"), Message(outcome="budget", site="south"))
    log.append(*(Message(outcome="unsigned") for _ in range(5)))
    shown = {one["name"]: one for one in inside.get("api/standing").json()["institutions"]}
    today = datetime.now(UTC).date()
    assert shown["north"]["last_answer"][:10] in {str(today), str(today - timedelta(days=1))}
    assert shown["south"]["last_answer"] is None


@pytest.mark.parametrize("days", [-3, 10, 200])
def test_a_certificate_that_ends_soon_is_said(home, days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now + timedelta(days=days, hours=1))
        .sign(key, hashes.SHA256())
    )
    (home / "server.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    visitor = coordinator(home)
    visitor.enter()
    page = words(visitor.get().text)
    assert f"{days} days" in page
    assert ("coordinator renew" in page) == (days < 30)


def test_no_page_shows_a_secret(inside, home):
    paths = ("", "runs", f"runs/{ids(home)[0]}", "releases", "api/standing")
    shown = "".join(inside.get(path).text for path in paths)
    secret = (home / "superexec.secret").read_text()
    pems = [home / name for name in ("coordinator.key", "authority.key", "server.key")]
    keys = [line for path in pems for line in path.read_text().splitlines()[1:-1]]
    assert len(keys) >= 3 and not any(one in shown for one in (*keys, secret, inside.cookie))


def test_a_part_follows_the_run(inside, home):
    part = f"api/parts/runs/{ids(home)[1]}"
    folder = home.parent / "second"
    with at_work(folder) as process:
        assert "running" in inside.get(part).json()["html"]
        metrics = RunFolder(folder).metrics_path
        line = {**json.loads(metrics.read_text().splitlines()[0]), "round": 2}
        metrics.write_text(metrics.read_text() + json.dumps(line) + "\n")
        assert "2 of 2" in inside.get(part).json()["html"]
        process.kill()
        process.wait()
        assert "killed" in inside.get(part).json()["html"]


def test_a_finished_run_is_read_once(home, monkeypatch):
    read, true = [], coordinator_view.run_standing

    def noting(folder, online):
        read.append(folder.path)
        return true(folder, online)

    monkeypatch.setattr(coordinator_view, "_FRESH_S", 0.0)
    monkeypatch.setattr(coordinator_view, "run_standing", noting)
    reader = CoordinatorReader(CoordinatorHome.open(home))
    assert reader.shown() == reader.shown()
    assert len(read) == 3  # the other one twice


def test_the_page_is_served_by_the_command(home):
    words = [sys.executable, "-m", "fedloom", "coordinator", "web", str(home), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
        finally:
            process.terminate()
