"""Bad input through the command line: exit code, what the ledgers hold, and what is said."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedloom.client.vault as vault_module
from fedloom.client.vault import Vault
from fedloom.privacy.ledger import read_ledger
from tests.federation import Federation, cli, make, table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def federation(tmp_path) -> Federation:
    return make(tmp_path / "study")


def kinds(home: Path) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home).entries]


def ledgers(run: Path) -> dict[str, list[str]]:
    return {home.name: kinds(home) for home in sorted((run / "sites").iterdir())}


def spoiled(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    frame = frame.astype(object)
    if how == "unknown category":
        frame.loc[3, "sex"] = "unknown"
    elif how == "outside":
        frame.loc[3, "age"] = 93
    elif how == "missing column":
        frame = frame.drop(columns="sex")
    elif how == "not a number":
        frame.loc[3, "age"] = "old"
    elif how == "missing value":
        frame.loc[3, "visited"] = None
    elif how == "empty":
        frame = frame.iloc[:0]
    return frame


SPOILED = {
    "unknown category": ("column 'sex'", "other ="),
    "outside": ("column 'age'", "widen min and max"),
    "missing column": ("no column 'sex'", "rename"),
    "not a number": ("column 'age'", "correct the records"),
    "missing value": ("column 'visited'", "nullable = true"),
    "empty": ("no records", "at least one"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_records_that_do_not_fit_are_told_to_the_steward_by_file_column_and_remedy(
    federation, tmp_path, how
):
    data = federation.data("south")
    spoiled(table(50), how).to_csv(data, index=False)
    checked = cli("schema", "check", federation.folder / "schema.toml", data)
    ran = federation.simulate(tmp_path / "run")
    assert (checked.code, ran.code) == (2, 2)
    for said in (checked.err, ran.err):
        assert str(data) in said
        assert all(word in said for word in SPOILED[how]), said
    assert ledgers(tmp_path / "run") == {"north": ["genesis", "approve"], "south": ["genesis"]}


@pytest.mark.parametrize("how", ["unknown category", "outside", "not a number", "empty"])
def test_records_that_do_not_fit_can_be_accepted_with_clamp(federation, tmp_path, how):
    spoiled(table(50), how).to_csv(federation.data("south"), index=False)
    ran = federation.simulate(tmp_path / "run", "--clamp", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["state"] == "done"
    assert ledgers(tmp_path / "run")["south"].count("commit") == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('target = "visited"', 'target = "visit"', ("[study]", "target", "visited")),
        ("epsilon = 8.0", "epsilon = -1", ("[privacy]", "epsilon", "above 0")),
        ("epsilon = 8.0", "epsilon = inf", ("[privacy]", "epsilon")),
        ("delta = 1e-3", "delta = 2.0", ("[privacy]", "delta", "below 1")),
        ("delta = 1e-3", 'delta = 1e-3\nunit = "person"', ("[privacy]", "needs id")),
        ('trust = "per-site"', 'trust = "secure-sum"', ("[privacy]", "secure-sum", "per-site")),
        ('kind = "mixture"', 'kind = "diffusion"', ("[model]", "diffusion", "mixture")),
        ("components = 8", "widgets = 8", ("[model]", "widgets", "components")),
        ("components = 8", "components = -8", ("[model]", "components", "1 or more")),
        ('schema = "schema.toml"', 'schema = "none.toml"', ("none.toml", "does not exist")),
        ('name = "south"', 'name = "north"', ("north", "differ")),
        ("[model]", "[modell]", ("[modell]", "[model]")),
        ("[model]", "[model", ("not a TOML file",)),
    ],
)
def test_a_study_that_cannot_be_used_names_file_section_and_remedy(
    federation, tmp_path, old, new, words
):
    federation.edit(old, new)
    for done in (cli("study", "check", federation.study), federation.simulate(tmp_path / "run")):
        assert done.code == 2, done.err
        assert str(federation.folder) in done.err
        assert all(word.strip("[]") in done.err for word in words), done.err
    assert not (tmp_path / "run" / "sites").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--site", "west=x.csv"), "no site 'west'"),
        (("--site", "north"), "NAME=VALUE"),
        (("--home", "west=x"), "no site 'west'"),
    ],
)
def test_sites_that_the_study_does_not_know(federation, tmp_path, words, said):
    done = federation.simulate(tmp_path / "run", *words)
    assert done.code == 2 and said in done.err
    assert not (tmp_path / "run").exists()


def test_a_site_without_records_and_a_file_that_is_not_there(federation, tmp_path):
    one = ("--site", f"north={federation.data('north')}")
    done = federation.simulate(tmp_path / "run", *one, sites=False)
    assert done.code == 2 and "--site south=FILE" in done.err
    done = federation.simulate(tmp_path / "run", *one, "--site", "south=gone.csv", sites=False)
    assert done.code == 2 and "gone.csv" in done.err


def test_a_study_that_changed_after_approval_is_not_resumed(tmp_path):
    federation = make(tmp_path / "study", "weights")
    assert federation.simulate(tmp_path / "run").code == 0
    before = ledgers(tmp_path / "run")
    federation.edit("num_rounds = 2", "num_rounds = 3")
    done = federation.simulate(tmp_path / "run", "--resume")
    assert done.code == 2 and "changed since" in done.err and "restore the study" in done.err
    again = federation.simulate(tmp_path / "run")
    assert again.code == 2 and "--resume" in again.err
    assert ledgers(tmp_path / "run") == before


def test_a_second_study_on_the_same_home_is_refused_and_nothing_is_spent(tmp_path, federation):
    homes = [word for name in federation.sites for word in ("--home", f"{name}={tmp_path / name}")]
    assert federation.simulate(tmp_path / "one", *homes).code == 0
    before = {name: kinds(tmp_path / name) for name in federation.sites}
    second = federation.simulate(tmp_path / "two", *homes)
    assert second.code == 3
    assert "no room" in second.err and "nothing was spent" in second.err
    for name in federation.sites:
        assert kinds(tmp_path / name) == [*before[name], "approve"]
        budget = read_ledger(tmp_path / name).budget()
        assert budget["epsilon_spent"] == budget["epsilon_reserved"] <= 8.0


def test_records_that_changed_since_they_were_frozen_are_not_passed_over(tmp_path):
    federation = make(tmp_path / "study", "weights")
    assert stopped(federation, tmp_path / "run").code == 5
    table(50, seed=9).to_csv(federation.data("south"), index=False)
    done = federation.simulate(tmp_path / "run", "--resume")
    assert done.code == 2 and str(federation.data("south")) in done.err and "--site" in done.err
    assert federation.simulate(tmp_path / "run", "--resume", sites=False).code == 0


def test_a_second_study_fits_where_the_limit_is_large_enough(tmp_path, federation):
    homes = [word for name in federation.sites for word in ("--home", f"{name}={tmp_path / name}")]
    first = federation.simulate(tmp_path / "one", *homes, "--limit", "30")
    second = federation.simulate(tmp_path / "two", *homes)
    assert (first.code, second.code) == (0, 0), second.err
    shown = cli("budget", "show", tmp_path / "north", "--json").json
    assert set(shown) >= {"site", "delta", "epsilon_spent", "epsilon_limit", "studies"}
    assert 8.0 < shown["epsilon_spent"] < shown["epsilon_limit"] == 30.0


def test_one_home_without_room_leaves_no_reservation_at_the_others(tmp_path, federation):
    """The site that refuses is the last to be asked; the first had reserved already."""
    one = make(tmp_path / "alone", sites=("south",))
    assert one.simulate(tmp_path / "one", "--home", f"south={tmp_path / 'south'}").code == 0
    done = federation.simulate(tmp_path / "two", "--home", f"south={tmp_path / 'south'}")
    assert done.code == 3 and "'south'" in done.err
    north = read_ledger(tmp_path / "two" / "sites" / "north").budget()
    assert north["epsilon_spent"] == north["epsilon_reserved"] == 0.0


@pytest.mark.parametrize("damage", ["one byte", "tail cut", "head gone", "ledger gone"])
def test_a_damaged_ledger_stops_everything_that_would_use_it(tmp_path, federation, damage):
    homes = [word for name in federation.sites for word in ("--home", f"{name}={tmp_path / name}")]
    assert federation.simulate(tmp_path / "one", *homes, "--limit", "30").code == 0
    path = tmp_path / "north" / "ledger.db"
    if damage == "one byte":
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
    elif damage == "tail cut":
        os.truncate(path, path.stat().st_size - 4096)
    elif damage == "head gone":
        (tmp_path / "north" / "ledger.head").unlink()
    else:
        path.unlink()
    before = {p.name: p.read_bytes() for p in (tmp_path / "north").glob("ledger*")}
    commands = [
        cli("ledger", "verify", tmp_path / "north"),
        cli("budget", "show", tmp_path / "north"),
        cli("site", "serve", "--home", tmp_path / "north"),
        federation.simulate(tmp_path / "two", *homes),
    ]
    assert [done.code for done in commands] == [4] * 4, [done.err for done in commands]
    assert all("backup" in done.err or "ledger" in done.err for done in commands)
    assert {p.name: p.read_bytes() for p in (tmp_path / "north").glob("ledger*")} == before
    assert kinds(tmp_path / "south")[2:] == [
        "reserve",
        *["open", "commit"] * 2,
        "finish",
    ]


def test_a_damaged_ledger_stops_a_resumed_run(tmp_path):
    federation = make(tmp_path / "study", "weights")
    assert stopped(federation, tmp_path / "run").code == 5
    path = tmp_path / "run" / "sites" / "south" / "ledger.db"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    done = federation.simulate(tmp_path / "run", "--resume")
    assert done.code == 4 and str(path.parent) in done.err and "restore" in done.err
    north = kinds(tmp_path / "run" / "sites" / "north")
    assert north == ["genesis", "approve", "reserve", "open", "commit", "open"]


@contextmanager
def answering(answer_arrays) -> Iterator[None]:
    """Puts `answer_arrays` in the place of the vaults' own, which it gets as its first argument."""
    inner = vault_module.answer_arrays
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault_module, "answer_arrays", functools.partial(answer_arrays, inner))
        yield


def stopped(federation: Federation, out: Path):
    """A run that stops in its second round, because all sites are silent there."""

    def fails(inner, plan, request, *args, **kwargs):
        if request.round == 2:
            raise RuntimeError("record 90317 has age 93")
        return inner(plan, request, *args, **kwargs)

    with answering(fails):
        return federation.simulate(out)


def test_too_few_answers_say_so_and_the_run_resumes(tmp_path):
    federation = make(tmp_path / "study", "weights")
    done = stopped(federation, tmp_path / "run")
    assert done.code == 5
    assert "0 of 2 sites" in done.err and "silence" in done.err and "resume" in done.err
    assert "90317" not in done.err
    resumed = federation.simulate(tmp_path / "run", "--resume")
    assert resumed.code == 0, resumed.err
    for chain in ledgers(tmp_path / "run").values():
        assert chain.count("commit") == 3 and chain.count("open") == 3


def test_a_site_that_never_answers_is_waited_for_no_longer_than_the_study_says(tmp_path):
    federation = make(tmp_path / "study", "mixture", more="[coordination]\ntimeout_s = 2.0\n")
    release = threading.Event()

    def hangs(inner, *args, **kwargs):
        release.wait(30)
        return inner(*args, **kwargs)

    timer = threading.Timer(4.0, release.set)  # or the vaults could not be closed
    timer.start()
    with answering(hangs):
        done = federation.simulate(tmp_path / "run")
    release.set()
    timer.join()
    assert done.code == 5 and "0 of 2 sites" in done.err
    assert federation.simulate(tmp_path / "run", "--resume").code == 0


def test_two_vaults_on_one_home(tmp_path, federation):
    assert federation.simulate(tmp_path / "one").code == 0
    home = tmp_path / "one" / "sites" / "north"
    with Vault.open(home):
        before = kinds(home)
        for done in (
            cli("site", "serve", "--home", home),
            federation.simulate(tmp_path / "two", "--home", f"north={home}"),
        ):
            assert done.code == 3 and str(home) in done.err and "in use" in done.err
        assert kinds(home) == before


def test_a_disk_that_fills_up_while_reserving_costs_nothing_and_the_run_resumes(
    tmp_path, federation
):
    """The limit on file sizes stands in for the disk; SQLite's log is what no longer fits."""
    program = (
        "import resource, sys\n"
        "from fedloom.cli.main import main\n"
        "from fedloom.privacy.ledger import Ledger\n"
        "inner = Ledger.reserve\n"
        "def full(*args, **kwargs):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))\n"
        "    try:\n"
        "        return inner(*args, **kwargs)\n"
        "    finally:\n"
        "        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)\n"
        "Ledger.reserve = full\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["simulate", str(federation.study), *federation.pairs(), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 5, done.stderr
    assert "private.log" in done.stderr and "nothing was spent" in done.stderr
    homes = [tmp_path / "run" / "sites" / name for name in federation.sites]
    for home in homes:
        assert set(kinds(home)) <= {"genesis", "approve", "reserve", "finish"}
        budget = read_ledger(home).budget()
        assert budget["epsilon_spent"] == budget["epsilon_reserved"] == 0.0
    # The limit is the whole process's: while one site meets it, another may fail to write its log.
    logs = [home / "private.log" for home in homes]
    assert any("the disk is full" in log.read_text() for log in logs if log.exists())
    assert federation.simulate(tmp_path / "run", "--resume").code == 0


def test_a_plan_that_needs_too_much_memory_is_refused_with_the_reason(tmp_path, federation):
    values = ", ".join(f'"v{n}"' for n in range(1000))
    columns = f'\n[[column]]\nname = "label"\nkind = "category"\nvalues = [{values}]\n' + "".join(
        f'\n[[column]]\nname = "c{n}"\nkind = "integer"\nmin = 0\nmax = 100000\nbins = 1024\n'
        for n in range(60)
    )
    with (federation.folder / "schema.toml").open("a") as stream:
        stream.write(columns)
    federation.edit('target = "visited"', 'target = "label"')
    done = federation.simulate(tmp_path / "run")
    assert done.code == 2 and "GB" in done.err and "c0 (1025)" in done.err


def test_an_insecure_seed_is_stamped_and_not_accepted_later(tmp_path, federation):
    assert federation.simulate(tmp_path / "run", "--insecure-seed", "7").code == 0
    extract = json.loads((tmp_path / "run" / "extracts" / "north.json").read_text())
    assert extract["entries"][0]["body"]["data"]["insecure_noise"] is True
    shutil.copytree(tmp_path / "run" / "sites", tmp_path / "homes")
    homes = ("--home", f"north={tmp_path / 'homes' / 'north'}")
    done = federation.simulate(tmp_path / "two", *homes)
    assert done.code == 2 and "seed" in done.err


def test_a_checkpoint_that_was_damaged_says_what_to_do(tmp_path):
    federation = make(tmp_path / "study", "weights")
    assert stopped(federation, tmp_path / "run").code == 5
    checkpoint = next((tmp_path / "run" / "checkpoints").iterdir())
    checkpoint.write_bytes(np.zeros(100).tobytes())
    done = federation.simulate(tmp_path / "run", "--resume")
    assert done.code == 5 and checkpoint.name in done.err and "backup" in done.err
