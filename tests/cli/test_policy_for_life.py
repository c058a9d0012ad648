"""`[policy]` in `site.toml` bounds the records' whole life, and binds at the next message."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedloom.client.vault import Vault
from fedloom.privacy.ledger import Limits
from fedloom.privacy.plan import Plan
from tests.federation import ask, cli, make, request, status
from tests.stewards import Stewards, init, keys_of, stewards

STUDIES = 4


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose ledger allows epsilon 8."""
    return init(tmp_path, "north")


def allow(home: Path, epsilon: float | str, delta: float | str = 0.001) -> None:
    """Writes the two numbers of the policy, as a steward does with an editor."""
    config = home / "site.toml"
    lines = config.read_text().splitlines()
    for name, value in (("epsilon", epsilon), ("delta", delta)):
        lines = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
    config.write_text("\n".join(lines) + "\n")


def four_studies(home: Path, tmp_path: Path) -> list[int]:
    """Four studies of epsilon 0.5 in one home, approved one by one; returns their exit codes."""
    codes = []
    for number in range(STUDIES):
        folder = tmp_path / f"study-{number}"
        study = make(
            folder, sites=("north",), keys={"north": keys_of(home)}, epsilon=0.5 + number / 1000
        )
        assert cli("site", "approve", study.study, "--home", home, "--yes").code == 0
        done = study.simulate(folder / "run", "--home", f"north={home}", sites=False)
        assert done.code == 0 or "no room" in done.err, done.err
        codes.append(done.code)
    return codes


def check(home: Path, codes: list[int]) -> None:
    spent = cli("budget", "show", home, "--json").json
    assert spent["epsilon_limit"] == 1.0 and spent["limits_set_by"]["epsilon"] == "site.toml"
    assert spent["epsilon_spent"] <= spent["epsilon_limit"]
    assert codes[0] == 0 and codes[-1] == 3


def test_four_studies_cost_no_more_than_the_policy(home: Path, tmp_path: Path) -> None:
    allow(home, 1.0)
    check(home, four_studies(home, tmp_path))


def test_a_policy_that_bounds_each_plan_alone_would_be_found(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: admission by the ledger's limit alone, as it once was."""
    allow(home, 1.0)
    with monkeypatch.context() as broken:
        broken.setattr(Limits, "within", lambda own, policy: own)
        codes = four_studies(home, tmp_path)
    assert codes == [0] * STUDIES
    with pytest.raises(AssertionError):
        check(home, codes)


@pytest.mark.parametrize(
    ("epsilon", "delta", "files"),
    [
        (9.0, 0.01, {"epsilon": "ledger", "delta": "ledger"}),
        (2.0, 0.001, {"epsilon": "site.toml", "delta": "ledger"}),
        (9.0, 0.0001, {"epsilon": "ledger", "delta": "site.toml"}),
    ],
)
def test_the_smaller_limit_and_its_file_are_shown(
    home: Path, tmp_path: Path, epsilon: float, delta: float, files: dict[str, str]
) -> None:
    study = make(tmp_path / "s", sites=("north",), keys={"north": keys_of(home)}, epsilon=0.5)
    study.edit("delta = 1e-3", "delta = 1e-5")
    allow(home, epsilon, delta)
    shown = cli("budget", "show", home, "--json").json
    assert shown["limits_set_by"] == files
    assert (shown["epsilon_limit"], shown["delta"]) == (min(epsilon, 8.0), min(delta, 0.001))
    words = {"ledger": "the ledger", "site.toml": "[policy] in site.toml"}
    for told in (
        cli("budget", "show", home).out,
        cli("site", "plan", study.study, "--home", home).out,
        cli("site", "approve", study.study, "--home", home, "--yes").out,
    ):
        assert all(words[file] in " ".join(told.split()) for file in files.values()), told


@pytest.fixture
def running(tmp_path: Path) -> Stewards:
    """Two stewards who have approved a study of epsilon 1 with two rounds."""
    made = stewards(tmp_path)
    made.approve()
    return made


def plan_of(made: Stewards, site: str) -> Plan:
    return Plan.load(next((made.homes[site] / "approved").glob("*.json")))


def test_a_limit_that_is_lowered_binds_a_running_vault_at_once(running: Stewards) -> None:
    home, plan = running.homes["north"], plan_of(running, "north")
    with Vault.open(home) as vault:
        assert status(vault, request(plan, "statistic", 1)) == "ok"
        entries = running.kinds("north")
        allow(home, 0.9)
        for asked in (request(plan), request(plan, "statistic", 1), request(plan, run="other")):
            assert status(vault, asked) in ("not-approved", "used-up")
        assert running.kinds("north") == entries
        allow(home, 8.0)
        assert status(vault, request(plan, "statistic", 1)) == "ok"


def test_the_life_of_the_records_counts_and_not_the_plan_alone(
    running: Stewards, tmp_path: Path
) -> None:
    """A plan within the policy is stopped when what was spent before leaves no room for it."""
    assert running.simulate(tmp_path / "run").code == 0
    running.approve()
    home, plan = running.homes["north"], plan_of(running, "north")
    with Vault.open(home) as vault:
        assert status(vault, request(plan)) == "ok"
        allow(home, 1.1)
        assert status(vault, request(plan, "statistic", 1)) == "budget"
    assert running.kinds("north").count("open") == 2, "those of the first run"


@pytest.mark.parametrize(
    "broken",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("[site"),
        lambda path: path.write_text(path.read_text().replace("epsilon", "epsilom")),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text(path.read_text().replace("[policy]", "[polity]")),
        lambda path: path.write_text(path.read_text().replace("epsilon = 8.0", "epsilon = nan")),
    ],
    ids=["gone", "no toml", "no epsilon", "no text", "no policy", "no number"],
)
def test_without_rules_that_can_be_read_nothing_is_answered(running: Stewards, broken) -> None:  # type: ignore[no-untyped-def]
    home, plan = running.homes["north"], plan_of(running, "north")
    config = home / "site.toml"
    good = config.read_text()
    with Vault.open(home) as vault:
        assert status(vault, request(plan)) == "ok"
        entries = running.kinds("north")
        broken(config)
        for asked in (request(plan), request(plan, "statistic", 1), request(plan, "finish")):
            assert status(vault, asked) == "unavailable"
        assert running.kinds("north") == entries
        assert str(config) in (home / "private.log").read_text()
        config.write_text(good)
        answer = ask(vault, request(plan, "statistic", 1))
        assert answer is not None and answer.ok


def test_a_peer_that_is_pinned_anew_binds_at_once(running: Stewards) -> None:
    home, plan = running.homes["north"], plan_of(running, "north")
    config, key = home / "site.toml", "0" * 64
    with Vault.open(home) as vault:
        assert status(vault, request(plan)) == "ok"
        config.write_text(
            f'{config.read_text()}\n[peers.south]\nkey = "{key}"\nexchange-key = "{key}"\n'
        )
        assert status(vault, request(plan, "statistic", 1)) == "not-approved"
