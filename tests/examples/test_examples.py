"""The examples are complete, fit their schemas, and can be made again from their sources."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from fedloom.cli.main import main
from fedloom.client.data_check import check
from fedloom.client.sources import load_table
from fedloom.common.encoding import Encoding
from fedloom.common.schema import Schema
from fedloom.common.study import load_study

ROOT = Path(__file__).resolve().parent.parent.parent
RAND = ROOT / "examples" / "rand"
HEART = ROOT / "examples" / "heart"
DIABETES = ROOT / "examples" / "diabetes"
DIGITS = ROOT / "examples" / "digits"
RAND_SIZES = {  # people, and years of them
    "dayton": (1164, 4462),
    "seattle": (1232, 4036),
    "fitchburg": (735, 2436),
    "franklin-county": (905, 3090),
    "charleston": (786, 2595),
    "georgetown-county": (1090, 3571),
}


@pytest.mark.parametrize("site", RAND_SIZES)
def test_rand_tables_fit_their_schema(site: str) -> None:
    schema = Schema.load(RAND / "schema.toml")
    table = load_table(RAND / f"{site}.csv.gz", schema, id_column="person")
    report = check(table, schema, id_column="person")
    assert report.problems == ()
    assert (table["person"].nunique(), report.records) == RAND_SIZES[site]
    assert table.groupby("person").size().max() <= 5
    assert ((table["visits"].astype(int) > 0) == (table["visited"] == "yes")).all()


def test_rand_is_the_whole_experiment_and_small() -> None:
    assert sum(people for people, _ in RAND_SIZES.values()) == 5_912
    assert sum(years for _, years in RAND_SIZES.values()) == 20_190
    assert sum(path.stat().st_size for path in RAND.glob("*.csv.gz")) < 500_000


@pytest.mark.parametrize("name", ["study.toml", "study-gan.toml", "study-mixture.toml"])
def test_rand_studies_name_the_six_sites(name: str) -> None:
    study, schema = load_study(RAND / name)
    assert [site.name for site in study.sites] == list(RAND_SIZES)
    assert study.target == "visited" and study.privacy.trust == "secure-sum"
    assert (study.privacy.unit, study.privacy.id, study.privacy.rows_per_person) == (
        "person",
        "person",
        5,
    )
    encoding = Encoding(schema, study.target)
    assert encoding.num_classes == 3 and len(encoding.features) == 17


def test_rand_tables_are_made_from_the_source(tmp_path: Path) -> None:
    if importlib.util.find_spec("statsmodels") is None:
        pytest.skip("statsmodels, which ships the RAND file, is not installed")
    subprocess.run(
        [sys.executable, str(RAND / "make_tables.py"), "--out", str(tmp_path)], check=True
    )
    for site in RAND_SIZES:
        made, shipped = (
            gzip.decompress((folder / f"{site}.csv.gz").read_bytes()) for folder in (tmp_path, RAND)
        )
        assert made == shipped


def test_heart_tables_fit_their_schema(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "heart_disease" / "heart_disease.csv"
    subprocess.run(
        [sys.executable, str(HEART / "split.py"), str(source), "--out", str(tmp_path)], check=True
    )
    study, schema = load_study(HEART / "study.toml")
    sizes = {}
    for site in study.sites:
        report = check(load_table(tmp_path / f"{site.name}.csv", schema), schema)
        assert report.problems == ()
        sizes[site.name] = report.records
    assert sizes == {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va": 200}


@pytest.mark.slow
def test_diabetes_tables_fit_their_schema_and_keep_patients_whole(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "diabetes_130" / "diabetic_data.csv.gz"
    subprocess.run(
        [sys.executable, str(DIABETES / "split.py"), str(source), "--out", str(tmp_path)],
        check=True,
    )
    study, schema = load_study(DIABETES / "study.toml")
    assert (study.privacy.unit, study.privacy.id, study.privacy.trust) == (
        "person",
        "patient_nbr",
        "secure-sum",
    )
    stays, patients = 0, []
    for site in study.sites:
        table = load_table(tmp_path / f"{site.name}.csv", schema, id_column=study.privacy.id)
        assert check(table, schema, id_column=study.privacy.id).problems == ()
        stays += len(table)
        patients.append(set(table[study.privacy.id]))
    assert stays == 101_766
    assert sum(map(len, patients)) == len(set().union(*patients)) == 71_518


@pytest.mark.parametrize(("part", "rows"), [("train", 32_561), ("test", 16_281)])
def test_adult_fits_its_schema(shared_data: Path, part: str, rows: int) -> None:
    schema = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    table = load_table(shared_data / "adult" / f"adult_{part}.csv.gz", schema)
    report = check(table, schema)
    assert report.problems == () and report.records == rows


@pytest.mark.slow
def test_digits_of_four_sites_become_a_release(tmp_path: Path) -> None:
    sites = tmp_path / "sites"
    subprocess.run([sys.executable, str(DIGITS / "make_sites.py"), "--out", str(sites)], check=True)
    places = {"north": "north.npz", "east": "east.npy", "south": "south", "west": "west"}
    options = [f"--site={name}={sites / place}" for name, place in places.items()]
    run, release = str(tmp_path / "run"), str(tmp_path / "release")
    assert main(["simulate", str(DIGITS / "study.toml"), *options, "--out", run]) == 0
    assert main(["sample", run, "--rows", "50", "--out", str(tmp_path / "made.npz")]) == 0
    assert main(["release", "build", run, "--out", release]) == 0
    assert main(["release", "verify", release]) == 0
