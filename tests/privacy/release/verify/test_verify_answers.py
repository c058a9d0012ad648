"""The opened sums in a release, through the command line: whatever a publisher changes is seen."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from fedloom.common.messages import arrays_digest
from fedloom.privacy.answers.files import read_arrays
from fedloom.privacy.answers.opened import OpenedRound, answer_path, spread_of
from fedloom.privacy.keys import generate_key, load_private_key, public_key_hex
from fedloom.privacy.release import build_release
from fedloom.privacy.release.marginals import MARGINALS, MARGINALS_COLUMNS
from tests.tampering import edit, failed, manifest_of, sign_again, verify

Release = SimpleNamespace


def _make(folder: Path, fake: SimpleNamespace, kind: str) -> dict[str, Any]:
    keys = {name: generate_key(folder / f"{name}.pem") for name in fake.MORE_SITES}
    public = {name: public_key_hex(key) for name, key in keys.items()}
    local = {"evaluation": {"share": 0.1, "hold_back": 0.2}}
    plan = fake.make_secure_plan(public) if kind == "secure" else fake.make_plan(public, **local)
    run = fake.write_run(folder / "run", plan, keys)
    build_release(run, folder / "release", seed=9)
    return {"keys": keys, "plan": plan}


@pytest.fixture(scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory, fake: SimpleNamespace) -> dict[str, Any]:
    made = {}
    for kind in ("per-site", "secure"):
        folder = tmp_path_factory.mktemp(kind)
        made[kind] = {"folder": folder, **_make(folder, fake, kind)}
    return made


def _copy(made: dict[str, Any], tmp_path: Path) -> Release:
    folder = tmp_path / "copy"
    shutil.copytree(made["folder"], folder)
    coordinator = load_private_key(folder / "run" / "coordinator.key")
    return Release(
        run=folder / "run",
        folder=folder / "release",
        plan=made["plan"],
        keys=made["keys"],
        coordinator=coordinator,
    )


@pytest.fixture(params=["per-site", "secure"])
def release(request: Any, _both: dict[str, Any], tmp_path: Path) -> Release:
    """A fresh copy of a release of four sites, with units held back."""
    return _copy(_both[request.param], tmp_path)


@pytest.fixture
def local(_both: dict[str, Any], tmp_path: Path) -> Release:
    return _copy(_both["per-site"], tmp_path)


@pytest.fixture
def secure(_both: dict[str, Any], tmp_path: Path) -> Release:
    return _copy(_both["secure"], tmp_path)


def opened_in(release: Release, number: int) -> OpenedRound:
    return OpenedRound.load(release.folder / answer_path(number))


def put(release: Release, number: int, **changes: Any) -> None:
    """Writes an answer with something else in it, and signs the release again."""
    changed = dataclasses.replace(opened_in(release, number), **changes)
    (release.folder / answer_path(number)).write_bytes(changed.pack())
    sign_again(release.folder, release.coordinator)


def test_every_round_of_sums_is_there_as_the_coordinator_saw_it(release, capsys):
    assert failed(capsys, release.folder) == set()
    for asked in release.plan.rounds:
        path = answer_path(asked.round)
        assert (release.folder / path).read_bytes() == (release.run / path).read_bytes()
        header, arrays = read_arrays(release.folder / path)
        assert (header["round"], header["query"]) == (asked.round, asked.query)
        assert header["roster"] == sorted(release.keys) and set(header["answer_digests"]) == set(
            release.keys
        )
        own = {name for name in arrays if name.startswith("own/")}
        assert bool(own) is (release.plan.colluding is None)


def one_more(array: Any) -> Any:
    changed = array.copy()
    changed[0] += 1
    return changed


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_exchanged_sum_is_seen_in_local_trust(local, capsys, number):
    put(local, number, total=one_more(opened_in(local, number).total))
    assert "answers" in failed(capsys, local.folder)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_exchanged_sum_of_one_site_is_seen_in_local_trust(local, capsys, number):
    """Also with the total to match, and with the digest to match."""
    opened = opened_in(local, number)
    own = {**opened.own, "north": one_more(opened.own["north"])}
    put(local, number, own=own, total=one_more(opened.total))
    assert "answers" in failed(capsys, local.folder)
    digests = {**opened.answer_digests, "north": arrays_digest({"sum": own["north"]})}
    put(local, number, answer_digests=digests)
    assert "answers" in failed(capsys, local.folder)


def test_a_dropped_round_is_seen(release, capsys):
    for number in (1, 2, 3):
        path = release.folder / answer_path(number)
        data = path.read_bytes()
        path.unlink()
        sign_again(release.folder, release.coordinator)
        assert "answers" in failed(capsys, release.folder)
        path.write_bytes(data)


def test_a_round_that_the_plan_does_not_have_is_seen(release, capsys):
    shutil.copy(release.folder / answer_path(1), release.folder / answer_path(4))
    sign_again(release.folder, release.coordinator)
    assert "answers" in failed(capsys, release.folder)


def test_rounds_that_changed_places_are_seen(release, capsys):
    data = (release.folder / answer_path(2)).read_bytes()
    (release.folder / answer_path(1)).write_bytes(data)
    sign_again(release.folder, release.coordinator)
    assert "answers" in failed(capsys, release.folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": "f" * 64},
        {"run": "another"},
        {"round": 2},
        {"query": "gradient"},
        {"void": (("east", "north", "south"),)},
        {"roster": ("north", "south", "west")},
        {"roster": ("east", "north", "south", "west", "zurich")},
        {"roster": ("north", "east", "south", "west")},
        {"roster": ()},
        {"request_digest": "b" * 64},
        {"params": {}},
        {"sums": ()},
        {"answer_digests": {}},
        {"request_arrays": {"groups": np.zeros(3, dtype=np.int32)}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_fact_in_the_header_is_seen(release, capsys, changes):
    put(release, 1, **changes)
    assert "answers" in failed(capsys, release.folder)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("change", ["std", "own_std", "noise_multiplier", "grid_step", "name"])
def test_another_noise_or_grid_is_seen(release, capsys, number, change):
    opened = opened_in(release, number)
    first = opened.sums[0]
    value = "other" if change == "name" else (getattr(first, change) or 2.0) / 2
    put(release, number, sums=(msgspec.structs.replace(first, **{change: value}), *opened.sums[1:]))
    assert "answers" in failed(capsys, release.folder)


def test_noise_of_fewer_sites_is_seen(local, capsys):
    """A site is taken out of the sum, all else to match: its ledger is still asked for the same."""
    opened = opened_in(local, 1)
    own = {site: part for site, part in opened.own.items() if site != "west"}
    digests = {site: opened.answer_digests[site] for site in own}
    put(local, 1, own=own, answer_digests=digests, total=opened.total - opened.own["west"])
    assert "answers" in failed(capsys, local.folder)
    scale = spread_of(local.plan, 3) / spread_of(local.plan, 4)
    sums = tuple(msgspec.structs.replace(part, std=part.std * scale) for part in opened.sums)
    put(local, 1, sums=sums)
    found = failed(capsys, local.folder)
    # What is left is a true sum of three sites' answers, and the table for people tells another.
    assert found == {"marginals"}


def test_other_groups_than_were_asked_are_seen(release, capsys):
    groups = opened_in(release, 2).request_arrays["groups"].copy()
    block = release.plan.encoding.features[0]
    groups[block.start + 1] = 1  # still groups, of the same number
    put(release, 2, request_arrays={"groups": groups})
    assert "answers" in failed(capsys, release.folder)


def test_another_question_about_held_back_units_is_seen(release, capsys):
    arrays = dict(opened_in(release, 3).request_arrays)
    arrays["weights"] = arrays["weights"] * np.float32(0.5)
    put(release, 3, request_arrays=arrays)
    assert "answers" in failed(capsys, release.folder)


def test_own_sums_do_not_belong_to_a_secure_sum(secure, capsys):
    opened = opened_in(secure, 1)
    put(secure, 1, own={"north": opened.total})
    assert "answers" in failed(capsys, secure.folder)


def test_an_exchanged_secure_sum_is_left_to_the_evidence_and_its_tables_are_seen(secure, capsys):
    put(secure, 1, total=one_more(opened_in(secure, 1).total))
    assert failed(capsys, secure.folder) == {"marginals"}
    put(secure, 3, total=one_more(opened_in(secure, 3).total))
    assert failed(capsys, secure.folder) == {"marginals", "evaluation"}


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e["held_back"]["marginals"].__setitem__(0, 5.0),
        lambda e: e["noise_std"].update(marginals=e["noise_std"]["marginals"] / 2),
        lambda e: e["groups"].__setitem__(1, 0),
        lambda e: e["synthetic"]["marginals"].__setitem__(0, 0),
        lambda e: e.update(synthetic={}),
        lambda e: e.update(more=1),
    ],
)
def test_an_evaluation_that_does_not_follow_from_its_answer_is_seen(release, capsys, change):
    edit(release.folder / "evaluation.json", change)
    sign_again(release.folder, release.coordinator)
    assert "evaluation" in failed(capsys, release.folder)


def test_the_table_for_people_is_the_opened_look(release):
    opened, encoding = opened_in(release, 1), release.plan.encoding
    table = pd.read_parquet(release.folder / MARGINALS)
    assert list(table.columns) == list(MARGINALS_COLUMNS)
    np.testing.assert_array_equal(table["count"], opened.values())
    assert (table["std"] == opened.sums[0].std).all()
    per_class = 1 + encoding.width
    assert len(table) == encoding.num_classes * per_class
    assert table["class"].iloc[::per_class].tolist() == list(encoding.class_labels)
    by_kind = table[table["column"] == "income"].groupby("kind").size() // encoding.num_classes
    assert by_kind.to_dict() == {"interval": 8, "special": 1, "other": 1}
    ages = table[(table["column"] == "age") & (table["kind"] == "interval")]
    assert ages["lower"].min() == 0 and ages["upper"].max() == 90
    town = table[table["column"] == "town"]
    assert set(town["kind"]) == {"value", "missing", "other"}
    assert town[town["kind"] == "missing"]["value"].isna().all()
    dates = table[(table["column"] == "seen") & (table["kind"] == "interval")]
    assert dates["lower"].isna().all() and dates["value"].iloc[0].startswith("2020-01-01 to")


@pytest.mark.parametrize("change", ["count", "std", "row", "column"])
def test_another_table_for_people_is_seen(release, capsys, change):
    path = release.folder / MARGINALS
    table = pd.read_parquet(path)
    if change == "row":
        table = table.iloc[:-1]
    elif change == "column":
        table["more"] = 1
    else:
        table.loc[3, change] += 1
    table.to_parquet(path, index=False)
    sign_again(release.folder, release.coordinator)
    assert failed(capsys, release.folder) == {"marginals"}
    path.write_bytes(b"PAR1 and no more PAR1")
    sign_again(release.folder, release.coordinator)
    assert failed(capsys, release.folder) == {"marginals"}


def test_a_hidden_ledger_is_seen_in_local_trust(local, capsys, tmp_path):
    """Leaving out the ledger of a site whose noise came from a seed took the word VOID away."""
    (local.folder / "ledger" / "west.json").unlink()
    ledgers = dict(manifest_of(local.folder)["ledgers"])
    ledgers.pop("west")
    statement = json.loads((local.folder / "dp_statement.json").read_text("utf-8"))
    statement["sites"].pop("west")
    statement["sites_without_ledger"] = ["west"]
    (local.folder / "dp_statement.json").write_text(json.dumps(statement), "utf-8")
    sign_again(local.folder, local.coordinator, ledgers=ledgers)
    assert {"sums", "answers"} <= failed(capsys, local.folder)


@pytest.mark.parametrize("kind", ["per-site", "secure"])
def test_no_release_is_built_without_a_ledger_of_its_sums(_both, tmp_path, kind):
    from fedloom.cli.main import main

    release = _copy(_both[kind], tmp_path)
    (release.run / "extracts" / "west.json").unlink()
    out = tmp_path / "again"
    assert main(["release", "build", str(release.run), "--out", str(out)]) == 4
    assert not out.exists()


def test_no_release_is_built_without_an_answer(release, tmp_path, capsys):
    from fedloom.cli.main import main

    (release.run / answer_path(2)).unlink()
    assert main(["release", "build", str(release.run), "--out", str(tmp_path / "again")]) == 2
    assert "backup" in capsys.readouterr().err


def test_without_evidence_the_check_is_named_as_not_done(release, capsys):
    assert verify(release.folder, "--json") == 0
    checks = {c["name"]: c["ok"] for c in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["answers"] is True and checks["evidence"] is None
