"""A steward's day: make a home, read a plan, approve, pause, revoke, run."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from fedloom.client.vault import Vault
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.ledger import read_ledger
from fedloom.privacy.plan import Plan
from tests.federation import SITES, Federation, ask, cli, make, request, status, table
from tests.plans import edited


def kinds(home: Path) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home).entries]


def init(folder: Path, name: str, *, rows: int = 100, epsilon: float = 8.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}-records.csv"
    table(rows).to_csv(data, index=False)
    home = folder / name
    limits = ("--epsilon", epsilon, "--delta", "1e-3")
    done = cli("site", "init", "--home", home, "--name", name, *limits, "--data", data)
    assert done.code == 0, done.err
    return home


def pair(home: Path) -> tuple[str, str]:
    """A site's signing key and exchange key."""
    keys = public_keys(home)
    return keys["key"], keys["exchange-key"]


def public_keys(home: Path) -> dict[str, str]:
    """What `keygen` prints, read as the lines of a study."""
    return tomllib.loads(cli("site", "keygen", "--home", home).out)


@pytest.fixture
def homes(tmp_path) -> dict[str, Path]:
    return {name: init(tmp_path / "homes", name) for name in SITES}


@pytest.fixture
def federation(tmp_path, homes) -> Federation:
    keys = {name: pair(home) for name, home in homes.items()}
    return make(tmp_path / "study", "weights", keys=keys)


def approve(federation: Federation, home: Path, *more: str):
    return cli("site", "approve", federation.study, "--home", home, "--yes", *more)


def digest(federation: Federation) -> str:
    return str(cli("study", "check", federation.study, "--json").json["plan_digest"])


def plan_of(home: Path, federation: Federation) -> Plan:
    return Plan.load(home / "approved" / f"{digest(federation)}.json")


def test_init_makes_a_home_once(tmp_path):
    home = init(tmp_path, "north")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert kinds(home) == ["genesis"]
    budget = cli("budget", "show", home, "--json").json
    assert (budget["site"], budget["epsilon_limit"], budget["rehearsal"]) == ("north", 8.0, False)
    again = cli("site", "init", "--home", home, "--name", "x", "--epsilon", 9, "--data", "x.csv")
    assert again.code == 2 and "made once" in again.err
    assert cli("budget", "show", home, "--json").json == budget


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--data FILE or --url URL"),
        (("--data", "a.csv", "--url", "sqlite://"), "once"),
        (("--url", "sqlite:///x.db"), "--query"),
    ],
)
def test_init_needs_to_know_where_the_records_are(tmp_path, words, said):
    common = ("--home", tmp_path / "home", "--name", "north", "--epsilon", 3)
    done = cli("site", "init", *common, *words)
    assert done.code == 2 and said in done.err
    assert not (tmp_path / "home" / "ledger.db").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--name", "../x"),
        ("--name", ""),
        ("--name", "a b"),
        ("--data", "nosuch.csv"),
        ("--data", "."),
    ],
)
def test_init_refuses_what_can_never_be_used_before_it_makes_anything(tmp_path, option, value):
    home, data = tmp_path / "home", tmp_path / "records.csv"
    data.write_text("age\n1\n")
    words = {"--home": home, "--name": "north", "--epsilon": "3", "--data": data, option: value}
    done = cli("site", "init", *(word for pair in words.items() for word in pair))
    assert done.code == 2 and option in done.err
    assert not home.exists()


@pytest.mark.parametrize("epsilon", ["0", "-1", "inf", "nan"])
def test_init_refuses_a_limit_that_is_none(tmp_path, epsilon):
    home = tmp_path / "home"
    words = ("--home", home, "--name", "north", "--epsilon", epsilon, "--data", "x.csv")
    assert cli("site", "init", *words).code == 2
    assert not (home / "ledger.db").exists()


def test_keygen_prints_the_same_keys_again_as_a_study_takes_them(tmp_path):
    keys = public_keys(tmp_path / "home")
    assert sorted(keys) == ["exchange-key", "key"] and keys["key"] != keys["exchange-key"]
    assert {len(key) for key in keys.values()} == {64}
    assert public_keys(tmp_path / "home") == keys
    for name in ("key.pem", "exchange.pem"):
        assert stat.S_IMODE((tmp_path / "home" / name).stat().st_mode) == 0o600


def test_keygen_makes_the_key_that_is_missing(tmp_path):
    keys = public_keys(tmp_path / "home")
    (tmp_path / "home" / "exchange.pem").unlink()
    again = public_keys(tmp_path / "home")
    assert again["key"] == keys["key"] and again["exchange-key"] != keys["exchange-key"]


def test_plan_explains_and_signs_nothing(homes, federation):
    done = cli("site", "plan", federation.study, "--home", homes["north"])
    assert done.code == 0, done.err
    for words in (
        "Asked of north: 3 answers",
        "Who sees it",
        "Worst price: epsilon",
        "Budget: it fits",
        "no study was approved",
        "Warning: ",
        digest(federation),
    ):
        assert words in done.out, words
    assert kinds(homes["north"]) == ["genesis"]


def test_plan_says_when_the_budget_has_no_room(tmp_path, federation, homes):
    poor = init(tmp_path / "poor", "north", epsilon=1.0)
    text = (poor / "site.toml").read_text()
    (poor / "site.toml").write_text(text.replace("epsilon = 1.0", "epsilon = 9.0"))
    keys = {"north": pair(poor)}
    alone = make(tmp_path / "alone", "weights", sites=("north",), keys=keys)
    done = cli("site", "plan", alone.study, "--home", poor)
    assert done.code == 0 and "IT DOES NOT FIT" in done.out


def test_approve_signs_a_study_or_its_plan(tmp_path, homes, federation):
    assert approve(federation, homes["north"]).code == 0
    assert cli("study", "check", federation.study, "--out", tmp_path / "plan.json").code == 0
    words = ("--home", homes["south"], "--yes")
    assert cli("site", "approve", tmp_path / "plan.json", *words).code == 0
    for home in homes.values():
        assert read_ledger(home).approval(digest(federation)) is not None
    again = approve(federation, homes["north"])
    assert again.code == 2 and "revoke it first" in again.err
    assert kinds(homes["north"]) == ["genesis", "approve"]


def test_approve_asks_before_it_signs(homes, federation, monkeypatch):
    import click

    monkeypatch.setattr(click, "confirm", lambda *_, **__: False)
    done = cli("site", "approve", federation.study, "--home", homes["north"])
    assert done.code == 3 and "nothing was signed" in done.err
    assert kinds(homes["north"]) == ["genesis"]


def test_approve_refuses_another_key_a_wrong_price_and_what_the_policy_forbids(
    tmp_path, homes, federation
):
    stranger = init(tmp_path / "stranger", "north")
    other_key = approve(federation, stranger)
    assert other_key.code == 2 and "names the key" in other_key.err
    cli("study", "check", federation.study, "--out", tmp_path / "plan.json")
    plan = Plan.load(tmp_path / "plan.json")
    quiet = 0.5 * plan.phases[1].noise_multiplier
    edited(plan, ("phases", 1, "noise_multiplier"), quiet).save(tmp_path / "cheap.json")
    cheap = cli("site", "approve", tmp_path / "cheap.json", "--home", homes["north"], "--yes")
    assert cheap.code == 2 and "resolve the study again" in cheap.err
    config = homes["north"] / "site.toml"
    config.write_text(config.read_text() + 'models = ["mixture"]\nmin_sites = 3\n')
    forbidden = approve(federation, homes["north"])
    assert forbidden.code == 3 and "mixture" in forbidden.err and "3" in forbidden.err
    assert kinds(homes["north"]) == kinds(stranger) == ["genesis"]


def test_a_secure_sum_needs_the_other_sites_keys_in_site_toml(tmp_path, homes):
    every = homes | {"west": init(tmp_path / "homes", "west")}
    keys = {name: pair(home) for name, home in every.items()}
    folder = tmp_path / "masked"
    masked = make(folder, sites=tuple(every), keys=keys, trust="secure-sum")
    read = cli("site", "plan", masked.study, "--home", homes["north"])
    assert read.code == 3 and "Worst price" in read.out
    for key in (key for keys_of in keys.values() for key in keys_of):
        assert fingerprint(key) in read.out
    refused = approve(masked, homes["north"])
    assert refused.code == 3 and kinds(homes["north"]) == ["genesis"]
    lines = refused.err.split("\n\n")[1]
    assert sorted(tomllib.loads(lines)["peers"]) == ["south", "west"]
    config = homes["north"] / "site.toml"
    config.write_text(f"{config.read_text()}\n{lines}\n")
    done = approve(masked, homes["north"])
    assert done.code == 0, done.err
    with Vault.open(homes["north"]) as vault:
        assert status(vault, request(plan_of(homes["north"], masked))) == "ok"


@pytest.mark.parametrize("rows", ["odd", "empty"])
def test_approve_tells_the_steward_about_records_that_do_not_fit(homes, federation, rows):
    home = homes["north"]
    data = home.parent / "north-records.csv"
    frame = table(20)
    frame.loc[3, "sex"] = "diverse"
    frame = frame.iloc[:0] if rows == "empty" else frame
    frame.to_csv(data, index=False)
    done = approve(federation, home)
    assert done.code == 2 and str(data) in done.err and "--clamp" in done.err
    assert ("no records" if rows == "empty" else "column 'sex'") in done.err
    assert kinds(home) == ["genesis"]
    assert approve(federation, home, "--clamp").code == 0
    with Vault.open(home) as vault:  # and it answers all the same
        assert ask(vault, request(plan_of(home, federation), "statistic", 1)).ok


def test_pause_and_revoke_take_effect_while_a_vault_runs(homes, federation):
    home = homes["north"]
    assert approve(federation, home).code == 0
    plan = plan_of(home, federation)
    with Vault.open(home) as vault:
        assert status(vault, request(plan)) == "ok"
        paused = cli("site", "pause", "--home", home)
        assert paused.code == 0 and "running vault" in paused.out
        assert status(vault, request(plan, "statistic", 1)) == "not-approved"
        assert cli("site", "pause", "--off", "--home", home).code == 0
        assert status(vault, request(plan, "statistic", 1)) == "ok"
        revoked = cli("site", "revoke", federation.study, "--home", home)
        assert revoked.code == 0, revoked.err
        assert status(vault, request(plan, "statistic", 1)) == "not-approved"
    assert kinds(home)[-2:] == ["revoke", "finish"]
    assert not list((home / "snapshots").iterdir())


def test_pause_and_revoke_are_recorded_where_no_vault_runs(homes, federation):
    home = homes["north"]
    assert approve(federation, home).code == 0
    assert cli("site", "pause", "--home", home).code == 0
    assert cli("budget", "show", home, "--json").json["paused"] is True
    assert cli("site", "pause", "--off", "--home", home).code == 0
    assert cli("site", "revoke", federation.study, "--home", home).code == 0
    assert kinds(home) == ["genesis", "approve", "pause", "resume", "revoke"]
    again = cli("site", "revoke", federation.study, "--home", home)
    assert again.code == 3 and "not approved" in again.err


def test_simulate_in_stewards_homes_needs_their_approval(tmp_path, homes, federation):
    words = [word for name, home in homes.items() for word in ("--home", f"{name}={home}")]
    refused = federation.simulate(tmp_path / "run", *words, sites=False)
    assert refused.code == 3
    assert f"fedloom site approve {tmp_path / 'run' / 'plan.json'} --home" in refused.err
    assert {name: kinds(home) for name, home in homes.items()} == {n: ["genesis"] for n in homes}
    for home in homes.values():
        done = cli("site", "approve", tmp_path / "run" / "plan.json", "--home", home, "--yes")
        assert done.code == 0, done.err
    given = federation.simulate(tmp_path / "run", *words, "--resume")
    assert given.code == 2 and "leave out --site north" in given.err
    done = federation.simulate(tmp_path / "run", *words, "--resume", sites=False)
    assert done.code == 0, done.err
    for home in homes.values():
        assert kinds(home).count("commit") == 3
        assert cli("budget", "show", home, "--json").json["rehearsal"] is False


def test_a_folder_that_is_no_home_is_said(tmp_path, federation):
    for command in ("plan", "approve", "revoke"):
        done = cli("site", command, federation.study, "--home", tmp_path)
        assert done.code == 2 and "fedloom site init" in done.err
    assert cli("site", "pause", "--home", tmp_path).code == 2
