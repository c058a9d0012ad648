"""What a consumer does with a release: the walk-through of docs/consumer.md, and beyond it."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.common.errors import ConfigError, DataError, ReleaseError
from tests.federation import cli, make

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a run and its release, named as in the documentation."""
    folder = tmp_path_factory.mktemp("consumer")
    federation = make(folder, more="[release]\nrows = 400\n")
    assert federation.simulate(folder / "run").code == 0
    assert cli("release", "build", folder / "run", "--out", folder / "release").code == 0
    return folder


@pytest.fixture(scope="module")
def release(folder: Path) -> fedloom.Release:
    return fedloom.Release(folder / "release")


def test_the_walk_through_of_the_documentation_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    # Without the fences; an example's output ends at an empty line.
    text = re.sub(r"^```.*$", "", (ROOT / "docs" / "consumer.md").read_text(), flags=re.M)
    examples = doctest.DocTestParser().get_doctest(text, {}, "consumer.md", "consumer.md", 0)
    done = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert done.attempted > 8 and done.failed == 0


def test_data_are_typed_as_the_schema_says(release: fedloom.Release) -> None:
    assert release.data.dtypes.to_dict() == release.dtypes
    assert list(release.data["sex"].cat.categories) == ["female", "male"]
    assert release.data["age"].dtype == "Int64"
    assert release.schema.names == tuple(release.data.columns)
    pd.testing.assert_frame_equal(fedloom.read(release.path), release.data)
    pd.testing.assert_frame_equal(fedloom.read(release.path, format="csv"), release.data)
    with pytest.raises(ConfigError, match="parquet, csv"):
        release.read(format="xlsx")


def test_statement_codebook_and_price_are_those_of_the_files(release: fedloom.Release) -> None:
    assert release.epsilon == release.statement["epsilon"] <= 8.0
    assert release.delta == release.statement["delta"]
    assert [column["name"] for column in release.codebook["columns"]] == list(release.schema.names)
    for word in (release.title, f"{len(release.data):,} rows", "mixture", "record"):
        assert word in repr(release)


def test_marginals_are_counts_of_the_schemas_values_with_their_error(release) -> None:
    counts = release.marginals
    assert set(counts["column"]) == set(release.schema.names)
    assert set(counts.columns) >= {"value", "lower", "upper", "class", "count", "std"}
    assert (counts["std"] > 0).all() and counts["std"].nunique() == 1
    women = counts[(counts["column"] == "sex") & (counts["value"] == "female")]
    drawn = (release.data["sex"] == "female").sum()
    assert abs(women["count"].sum() - drawn) < 6 * np.hypot(10, 2 * counts["std"].iloc[0])


def test_samples_are_typed_and_repeatable(release: fedloom.Release) -> None:
    drawn = release.sample(50, where={"visited": "yes", "age": (2, 5)}, seed=3)
    assert drawn.dtypes.to_dict() == release.dtypes
    assert set(drawn["visited"]) == {"yes"} and drawn["age"].between(2, 5).all()
    pd.testing.assert_frame_equal(
        drawn, release.sample(50, where={"visited": "yes", "age": (2, 5)}, seed=3)
    )
    with pytest.raises(ConfigError, match="height"):
        release.sample(5, where={"height": 1})


def test_gaps_of_a_table_are_filled_and_nothing_else_changes(release: fedloom.Release) -> None:
    table = release.data.head(20).assign(note=np.arange(20), sex=None)
    filled = release.impute(table, seed=1)
    assert set(filled["sex"]) <= {"female", "male"}
    pd.testing.assert_frame_equal(filled[["note", "visited"]], table[["note", "visited"]])
    with pytest.raises(DataError):
        release.impute(table.drop(columns="visited"))


def test_the_release_is_verified_with_the_publishers_key(release: fedloom.Release) -> None:
    key = release.manifest.signer.public_key
    assert release.verify(key=key).signer_checked
    with pytest.raises(ReleaseError):
        release.verify(key="0" * 64)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("data/synthetic.csv", lambda release: release.read(format="csv")),
        ("data/synthetic.parquet", lambda release: release.data),
        ("generator/model.safetensors", lambda release: release.sample(1)),
        ("generator/config.json", lambda release: release.impute(pd.DataFrame())),
        ("dp_statement.json", lambda release: release.epsilon),
        ("codebook.json", lambda release: release.codebook),
        ("plan.json", lambda release: release.schema),
        ("answers/marginals.parquet", lambda release: release.marginals),
    ],
)
def test_a_changed_or_missing_file_is_never_used(folder: Path, tmp_path: Path, name, use) -> None:
    copy = shutil.copytree(folder / "release", tmp_path / "release")
    changed = copy / name
    changed.write_bytes(changed.read_bytes() + b" ")
    with pytest.raises(ReleaseError, match=Path(name).name):
        use(fedloom.Release(copy))
    changed.unlink()
    with pytest.raises(ReleaseError, match=Path(name).name):
        use(fedloom.Release(copy))


def test_a_changed_manifest_is_refused_at_once(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder / "release", tmp_path / "release")
    path = copy / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"title":"', b'"title":"x'))
    with pytest.raises(ReleaseError):
        fedloom.Release(copy)


def test_a_run_and_a_release_are_told_apart(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"fedloom\.Release"):
        fedloom.Run(folder / "release")
    with pytest.raises(ConfigError, match=r"fedloom\.Run"):
        fedloom.Release(folder / "run")
    with pytest.raises(ConfigError, match="no release"):
        fedloom.read(folder)


_WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "flwr", "opacus"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Absent())
import fedloom
release = fedloom.Release("release")
release.verify()
print(len(release.sample(7, where={"sex": "male"})), len(release.impute(release.data)))
"""


def test_a_mixture_needs_no_torch(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "7"


@pytest.mark.parametrize("model", ["weights", "gan"])
def test_neural_releases_are_used_alike(tmp_path: Path, model: str) -> None:
    federation = make(tmp_path, model=model)
    assert federation.simulate(tmp_path / "run").code == 0
    assert cli("release", "build", tmp_path / "run", "--out", tmp_path / "release").code == 0
    release = fedloom.Release(tmp_path / "release")
    drawn = release.sample(10, where={"visited": "no"}, seed=1)
    assert drawn.dtypes.to_dict() == release.dtypes and set(drawn["visited"]) == {"no"}
    filled = release.impute(drawn.assign(visited=None), seed=1)
    assert not filled["visited"].isna().any()
