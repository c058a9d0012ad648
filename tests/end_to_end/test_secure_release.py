"""From tables to a verified release by a secure sum: nothing in it is about one site alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.vault import Vault
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.study import load_study
from fedloom.in_process import in_process_link
from fedloom.privacy.release import build_release
from fedloom.privacy.release.verify import verify_release
from fedloom.server.coordinate import coordinate
from fedloom.server.run_folder import RunFolder
from fedloom.simulation import prepare
from tests.end_to_end.test_no_leak import outline_of_run
from tests.federation import make, table
from tests.site_numbers import numbers_by_site

pytestmark = pytest.mark.slow

NAMES = ("east", "north", "south", "west")
EVALUATED = "\n[evaluation]\nshare = 0.3\nhold_back = 0.3\n"


def run_dealt(folder: Path, sizes: tuple[int, ...], *, more: str = "") -> RunFolder:
    """Runs one pooled table, dealt to four sites in pieces of these sizes."""
    federation = make(folder / "study", sites=NAMES, trust="secure-sum", more=more)
    study, schema = load_study(federation.study)
    pooled = table(sum(sizes), seed=5)
    ends = np.cumsum((0, *sizes))
    tables = {
        name: pooled.iloc[ends[n] : ends[n + 1]].reset_index(drop=True)
        for n, name in enumerate(NAMES)
    }
    run = prepare(study, schema, tables, out=folder / "run", homes={}, insecure_seed=3)
    vaults = {
        name: Vault.open(run.path / "sites" / name, insecure_seed=3 + n)
        for n, name in enumerate(NAMES)
    }
    with in_process_link(vaults) as link:
        coordinate(run.path, link)
    for vault in vaults.values():
        vault.close()
    return run


@pytest.fixture(scope="module")
def dealt(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """The same records with the same noise: evenly dealt, and nearly all at one site."""
    folder = tmp_path_factory.mktemp("dealt")
    sizes = {"even": (100, 100, 100, 100), "skewed": (391, 1, 5, 3)}
    return [run_dealt(folder / name, parts) for name, parts in sizes.items()]


def told(statistics: NoisyMarginals) -> list[bytes]:
    """All that the coordinator holds of the sums."""
    assert statistics.pairs is not None and statistics.groups is not None
    arrays = (statistics.look, statistics.groups, statistics.pairs)
    return [array.tobytes() for array in arrays] + [
        json.dumps(dict(statistics.site_totals)).encode()
    ]


def test_what_is_known_does_not_depend_on_which_site_holds_which_record(dealt):
    even, skewed = (run.statistics() for run in dealt)
    assert told(even) == told(skewed)
    assert outline_of_run(dealt[0].path) == outline_of_run(dealt[1].path)


def test_a_number_of_records_by_site_would_be_seen(dealt):
    even, skewed = (run.statistics() for run in dealt)
    leaky = [
        NoisyMarginals(
            encoding=s.encoding,
            look=s.look,
            look_std=s.look_std,
            site_totals=totals,
            groups=s.groups,
            pairs=s.pairs,
            pair_std=s.pair_std,
        )
        for s, totals in ((even, {"east": 100.0}), (skewed, {"east": 391.0}))
    ]
    assert told(leaky[0]) != told(leaky[1])


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Path]:
    folder = tmp_path_factory.mktemp("released")
    run = run_dealt(folder, (400, 300, 500, 600), more=EVALUATED)
    return run, build_release(run.path, folder / "release", seed=1)


def test_the_release_of_a_secure_sum_verifies_with_its_evaluation(released):
    run, release = released
    found = verify_release(release)
    details = {check.name: check.detail for check in found.checks}
    assert "3 rounds" in details["sums"] and "opened sum" in details["evaluation"]
    record = json.loads((release / "evaluation.json").read_text("utf-8"))
    records = record["figures"]["records"]
    # A third of 1,800 by coins, with noise: four standard deviations either way.
    sigma = np.hypot(records["std"], np.sqrt(1800 * 0.3 * 0.7))
    assert abs(records["estimate"] - 540) < 4 * sigma
    total = run.statistics().total()
    assert abs(total - 1260) < 4 * np.sqrt(1800 * 0.3 * 0.7) + 100


def test_no_number_is_about_one_site_and_no_chart_names_one(released):
    run, release = released
    assert numbers_by_site([run.path, release], NAMES) == set()
    report = (release / "report.html").read_text("utf-8")
    charts = report[
        report.index("Marginals: synthetic") : report.index("How the privacy was bought")
    ]
    assert not any(name in charts for name in NAMES)
    twin = run.path / "leak.json"
    twin.write_text(json.dumps({"marginals": {"east": {"age": [3, 4]}}}), encoding="utf-8")
    try:
        assert numbers_by_site([run.path], NAMES) == {"leak.json.marginals.east.age"}
    finally:
        twin.unlink()
