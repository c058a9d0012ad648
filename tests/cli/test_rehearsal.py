"""`simulate` as a rehearsal: with the records of stewards' homes, and of a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedloom.privacy.ledger import read_ledger
from tests.federation import cli, make, table
from tests.stewards import init


def contents(homes: dict[str, Path]) -> dict[str, bytes]:
    files = (file for home in homes.values() for file in home.rglob("*"))
    return {str(file): file.read_bytes() for file in files if file.is_file()}


def at_homes(homes: dict[str, Path]) -> list[str]:
    """The options --site of all homes."""
    return [word for name, home in homes.items() for word in ("--site", f"{name}={home}")]


def test_a_rehearsal_reads_homes_and_leaves_their_ledgers_alone(tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    federation, before = make(tmp_path / "study"), contents(homes)
    done = federation.simulate(tmp_path / "run", *at_homes(homes), "--json", sites=False)
    assert done.code == 0 and done.json["state"] == "done", done.err
    assert contents(homes) == before
    for name, home in homes.items():
        own = tmp_path / "run" / "sites" / name
        rehearsals = [
            cli("budget", "show", path, "--json").json["rehearsal"] for path in (own, home)
        ]
        assert rehearsals == [True, False]
        assert "commit" in [entry.read().kind for entry in read_ledger(own).entries]


def test_a_home_beside_a_table_keeps_its_own_way_of_writing(tmp_path):
    homes = {"north": init(tmp_path / "homes", "north", rows=90)}
    federation = make(tmp_path / "study")
    table(80).to_csv(federation.data("south"), index=False, sep=";")
    words = [*at_homes(homes), "--site", f"south={federation.data('south')}"]
    done = federation.simulate(tmp_path / "run", *words, "--separator", ";", sites=False)
    assert done.code == 0, done.err


def test_a_home_whose_records_do_not_fit_stops_the_rehearsal(tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    frame = table(90)
    frame["sex"] = "unheard of"
    frame.to_csv(tmp_path / "homes" / "south-records.csv", index=False)
    done = make(tmp_path / "study").simulate(tmp_path / "run", *at_homes(homes), sites=False)
    assert done.code == 2 and "'sex'" in done.err


@pytest.mark.parametrize("wrong", ["another's", "none"])
def test_a_folder_that_is_not_the_sites_home_is_refused(wrong, tmp_path):
    homes = {name: init(tmp_path / "homes", name, rows=90) for name in ("north", "south")}
    if wrong == "none":
        homes["south"] = tmp_path / "empty"
        homes["south"].mkdir()
    else:
        homes["south"] = homes["north"]
    done = make(tmp_path / "study").simulate(tmp_path / "run", *at_homes(homes), sites=False)
    assert done.code == 2 and str(homes["south"]) in done.err
    assert not (tmp_path / "run" / "plan.json").exists()
