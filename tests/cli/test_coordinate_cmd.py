"""`coordinate`, `watch`, `stop` and `runs`, as far as they go without a SuperLink; receipts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedloom.common.errors import FedloomError
from fedloom.deployment.coordinated_run import raise_failure
from fedloom.deployment.run_standing import run_standing
from fedloom.privacy.plan import Plan
from fedloom.server.run_folder import RunFolder
from fedloom.server.status import RunStatus, hold_run, write_status
from tests.federation import Outcome, cli, make
from tests.stewards import init

SITES = ("north", "south")


@dataclass(frozen=True, kw_only=True)
class Coordinated:
    """A coordinator, two invited sites, and a plan."""

    folder: Path
    home: Path
    sites: dict[str, Path]
    plan: Path

    def coordinate(self, *more: object) -> Outcome:
        out = ("--out", self.folder / "run", "--coordinator", self.home)
        return cli("coordinate", self.plan, *out, *more)

    def approve(self, site: str, plan: Path | None = None) -> Path:
        receipt = self.folder / f"{site}.receipt.json"
        words = ("--home", self.sites[site], "--yes", "--receipt", receipt)
        done = cli("site", "approve", plan or self.plan, *words)
        assert done.code == 0, done.err
        return receipt


@pytest.fixture
def coordinated(tmp_path: Path) -> Coordinated:
    home, plan = tmp_path / "c", tmp_path / "plan.json"
    ports = ("--port", 1, "--superlink-port", 2)  # nobody listens there
    assert cli("coordinator", "init", home, "--host", "localhost", *ports).code == 0
    sites = {name: init(tmp_path / "homes", name) for name in SITES}
    cards = []
    for name, site in sites.items():
        cards.append(tmp_path / f"{name}.json")
        assert cli("site", "card", "--home", site, "--out", cards[-1]).code == 0
    words = ("--coordinator", home)
    assert cli("coordinator", "invite", *cards, *words, "--out", tmp_path / "kit.json").code == 0
    study = make(tmp_path / "study", sites=SITES).study
    assert cli("study", "check", study, *words, "--out", plan).code == 0
    return Coordinated(folder=tmp_path, home=home, sites=sites, plan=plan)


def test_without_its_servers_a_run_does_not_begin_and_can_be_resumed(coordinated):
    assert coordinated.coordinate().code == 5
    assert (coordinated.folder / "run" / "run.json").exists()
    assert coordinated.coordinate().code == 2
    assert coordinated.coordinate("--resume").code == 5
    shown = cli("watch", coordinated.folder / "run", "--json").json
    assert shown["state"] == "prepared" and shown["coordinator"] is None
    assert [site["online"] for site in shown["sites"]] == [None, None]


def test_receipts_are_kept_and_the_coordinator_says_whose_is_missing(coordinated):
    first = coordinated.coordinate("--receipt", coordinated.approve("north"))
    assert "no receipt of south" in first.out
    second = coordinated.coordinate("--resume", "--receipt", coordinated.approve("south"))
    assert "all 2 sites" in second.out


@pytest.mark.parametrize(
    "change",
    [{"runs": 5}, {"site": "south"}, {"entry": 0}, {"epsilon": 0.1}, {"signature": "00" * 64}],
)
def test_a_changed_receipt_does_not_hold(coordinated, change):
    receipt = coordinated.approve("north")
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), **change}))
    assert coordinated.coordinate("--receipt", receipt).code == 4
    assert not (coordinated.folder / "run").exists()


def test_a_receipt_for_another_plan_does_not_hold(coordinated, tmp_path):
    study = make(tmp_path / "other", sites=SITES, epsilon=1.0).study
    other = tmp_path / "other.json"
    words = ("--coordinator", coordinated.home, "--out", other)
    assert cli("study", "check", study, *words).code == 0
    receipt = coordinated.approve("north", other)
    assert coordinated.coordinate("--receipt", receipt).code == 4


def test_a_plan_with_sites_or_keys_that_are_not_of_the_federation_is_refused(coordinated, tmp_path):
    (coordinated.home / "institutions" / "south.json").unlink()
    assert coordinated.coordinate().code == 2
    home = tmp_path / "new"
    card = tmp_path / "south.json"
    assert cli("site", "card", "--home", init(home, "south"), "--out", card).code == 0
    words = ("--coordinator", coordinated.home, "--out", tmp_path / "kit.json")
    assert cli("coordinator", "invite", card, *words).code == 0
    assert coordinated.coordinate().code == 2
    assert not (tmp_path / "run").exists()


def test_a_plan_of_another_coordinator_is_refused(coordinated, tmp_path):
    other = tmp_path / "other"
    assert cli("coordinator", "init", other, "--host", "localhost").code == 0
    for path in (coordinated.home / "institutions").iterdir():
        (other / "institutions" / path.name).write_bytes(path.read_bytes())
    done = cli("coordinate", coordinated.plan, "--out", tmp_path / "run", "--coordinator", other)
    assert done.code == 2


def prepared(coordinated: Coordinated) -> RunFolder:
    coordinated.coordinate()
    return RunFolder.open(coordinated.folder / "run")


def test_a_run_is_never_running_without_a_coordinator(coordinated):
    folder = prepared(coordinated)
    write_status(folder.path, RunStatus(state="running", pid=1))
    shown = run_standing(folder, set())
    assert shown["state"] == "failed" and "resume" in shown["message"]
    with hold_run(folder.path):
        assert run_standing(folder, set())["state"] == "running"
    assert "nobody" in cli("stop", folder.path).out


def test_standing_is_told_by_institution(coordinated):
    folder = prepared(coordinated)
    folder.keep_runs({"north": 1})
    line = {"round": 1, "query": "statistic", "sites": ["north"], "epsilon": {"north": 0.5}}
    folder.append_metrics(line)
    north, south = run_standing(folder, {"south"})["sites"]
    assert north == {
        "name": "north", "online": False, "approved": True, "last_round": 1, "epsilon": 0.5
    }  # fmt: skip
    assert (south["online"], south["approved"], south["last_round"]) == (True, None, None)


def test_runs_lists_what_was_begun(coordinated):
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    folder = prepared(coordinated)
    home = CoordinatorHome.open(coordinated.home)
    for _ in range(2):
        home.note_run(folder.path)
    listed = cli("runs", "--coordinator", coordinated.home, "--json").json
    assert [run["run"] for run in listed] == [str(folder.path)]
    assert listed[0]["plan"] == Plan.load(coordinated.plan).digest()


def test_a_simulation_is_not_stopped_from_outside(coordinated, tmp_path):
    run = tmp_path / "simulated"
    assert make(tmp_path / "alone").simulate(run).code == 0
    assert cli("stop", run).code == 2
    assert cli("watch", run, "--json").json["state"] == "done"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_the_coordinators_exit_code_is_that_of_the_command(code):
    with pytest.raises(FedloomError) as caught:
        raise_failure(RunStatus(state="failed", exit_code=code, message="why"))
    assert caught.value.exit_code == code
    raise_failure(RunStatus(state="done"))
