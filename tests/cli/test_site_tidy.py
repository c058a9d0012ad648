"""Frozen records go when nothing more can be answered from them, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedloom.client.vault import Vault
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from tests.federation import cli, request, status
from tests.stewards import Stewards, stewards


@pytest.fixture
def consortium(tmp_path: Path) -> Stewards:
    return stewards(tmp_path)


def frozen(made: Stewards, site: str = "north") -> list[str]:
    """Endings of the files that hold a site's frozen records."""
    return sorted(path.suffix for path in (made.homes[site] / "snapshots").iterdir())


def plan_of(made: Stewards) -> Plan:
    return Plan.load(next((made.homes["north"] / "approved").glob("*.json")))


def tidy(made: Stewards, *more: str, site: str = "north") -> list[tuple[str, str]]:
    """Tidies a home; returns the kind of each file that went, and why."""
    done = cli("site", "tidy", "--home", made.homes[site], "--json", *more)
    assert done.code == 0, done.err
    assert done.json["dry_run"] is ("--dry-run" in more)
    return [(Path(file["path"]).suffix, file["why"]) for file in done.json["files"]]


def test_records_are_deleted_when_the_last_run_of_an_approval_ends(
    consortium: Stewards, tmp_path: Path
) -> None:
    consortium.approve("--runs", "2")
    assert consortium.simulate(tmp_path / "one").code == 0
    assert frozen(consortium) == [".npz", ".salt"], "one run is left"
    assert tidy(consortium) == []
    assert consortium.simulate(tmp_path / "two").code == 0
    for site in consortium.homes:
        assert frozen(consortium, site) == []
    assert len(list((consortium.homes["north"] / "approved").iterdir())) == 1, "the plan stays"
    assert cli("ledger", "verify", consortium.homes["north"]).code == 0
    consortium.approve()
    assert frozen(consortium) == [".npz", ".salt"], "frozen anew"
    assert consortium.simulate(tmp_path / "three").code == 0


def test_records_stay_while_a_run_may_still_ask(consortium: Stewards) -> None:
    consortium.approve()
    plan = plan_of(consortium)
    with Vault.open(consortium.homes["north"]) as vault:
        assert status(vault, request(plan, "statistic", 1)) == "ok"
    assert frozen(consortium) == [".npz", ".salt"] and tidy(consortium) == []
    with Vault.open(consortium.homes["north"]) as vault:
        assert status(vault, request(plan, "finish")) == "ok"
        assert frozen(consortium) == []


def test_a_run_that_gives_its_use_back_keeps_the_records(consortium: Stewards) -> None:
    consortium.approve()
    plan = plan_of(consortium)
    with Vault.open(consortium.homes["north"]) as vault:
        assert status(vault, request(plan)) == "ok"
        assert status(vault, request(plan, "finish")) == "ok"
        assert frozen(consortium) == [".npz", ".salt"]
        assert status(vault, request(plan, "statistic", 1, run="another")) == "ok"


def test_what_a_crash_left_behind_is_tidied(
    consortium: Stewards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consortium.approve()
    home = consortium.homes["north"]
    digest = plan_of(consortium).digest()
    with monkeypatch.context() as crash:
        crash.setattr("fedloom.client.vault.forget_ended", lambda *_: False)
        assert consortium.simulate(tmp_path / "run").code == 0
    for name in ("approved/x.json.partial", f"snapshots/{digest}.npz.partial", "note.partial"):
        (home / name).write_bytes(b"half")
    for name in (f"snapshots/{'0' * 64}.npz", f"snapshots/{'0' * 64}.salt"):
        (home / name).write_bytes(b"never signed")
    (home / "approved" / f"{'0' * 64}.json").write_bytes(b"{}")
    before = {path for path in home.rglob("*") if path.is_file()}
    expected = [
        (".json", "never-signed"),
        (".npz", "never-signed"),
        (".npz", "used-up"),
        (".partial", "half-written"),
        (".partial", "half-written"),
        (".partial", "half-written"),
        (".salt", "never-signed"),
        (".salt", "used-up"),
    ]
    assert sorted(tidy(consortium, "--dry-run")) == expected
    assert {path for path in home.rglob("*") if path.is_file()} == before
    assert sorted(tidy(consortium)) == expected
    left = {path for path in home.rglob("*") if path.is_file()}
    assert len(before - left) == len(expected) and frozen(consortium) == []
    assert {"key.pem", "exchange.pem", "site.toml", "ledger.db", f"{digest}.json"} <= {
        path.name for path in left
    }
    assert tidy(consortium) == []
    told = cli("site", "tidy", "--home", home)
    assert told.code == 0 and "nothing is left over" in told.out
    assert cli("ledger", "verify", home).code == 0


def test_a_vault_deletes_at_its_start_what_a_crash_kept(
    consortium: Stewards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consortium.approve()
    with monkeypatch.context() as crash:
        crash.setattr("fedloom.client.vault.forget_ended", lambda *_: False)
        assert consortium.simulate(tmp_path / "run").code == 0
    assert frozen(consortium) == [".npz", ".salt"]
    with Vault.open(consortium.homes["north"]):
        assert frozen(consortium) == []


def test_a_home_in_use_is_left_alone(consortium: Stewards) -> None:
    consortium.approve()
    home = consortium.homes["north"]
    with Vault.open(home):
        assert cli("site", "tidy", "--home", home).code == 3
        assert tidy(consortium, "--dry-run") == []
    assert frozen(consortium) == [".npz", ".salt"]


def test_a_run_resumes_after_the_records_of_one_site_are_gone(tmp_path: Path) -> None:
    """A rehearsal that was ended at one site, and at the coordinator not yet."""
    made = stewards(tmp_path)  # its tables serve a rehearsal, too
    words = [f"--site={site}={home.parent / site}-records.csv" for site, home in made.homes.items()]
    study = made.federation
    text = study.study.read_text()
    study.study.write_text("\n".join(line for line in text.splitlines() if "key = " not in line))
    run = tmp_path / "run"
    assert cli("simulate", study.study, *words, "--out", run).code == 0
    state = run / "run.json"
    state.write_text(state.read_text().replace('"state": "done"', '"state": "running"'))
    (run / "extracts" / "south.json").unlink()
    assert not list((run / "sites" / "north" / "snapshots").iterdir())
    resumed = cli("simulate", study.study, *words, "--out", run, "--resume")
    assert resumed.code == 0, resumed.err
    kinds = [entry.read().kind for entry in read_ledger(run / "sites" / "north").entries]
    assert kinds.count("approve") == kinds.count("finish") == 1
