"""Rows that the generator in a release does not give are seen, also if the publisher signs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from fedloom.common.artifact import Artifact
from fedloom.common.sampling import sample
from fedloom.privacy.keys import load_private_key, public_key_hex
from fedloom.privacy.release import build_release
from fedloom.privacy.release.data import PARQUET, public_seed, write_data
from tests.tampering import failed, manifest_of, sign_again, verify

ROOT = Path(__file__).resolve().parents[4]


def notes(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    capsys.readouterr()
    assert verify(folder, "--json") == 0
    return " ".join(json.loads(capsys.readouterr().out)["notes"])


def check(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    verify(folder, "--json", *options)
    checks = json.loads(capsys.readouterr().out)["checks"]
    return next(one for one in checks if one["name"] == "drawn")


def real_rows(fake: Any, plan: Any, rows: int) -> pd.DataFrame:
    """Rows of a site's own table, in the form that a release has."""
    frame = fake.make_rows(rows, insecure_seed=77)
    frame["age"] = frame["age"].astype("Int64")
    frame["seen"] = frame["seen"].dt.floor("D").astype("datetime64[s]")
    return frame[list(plan.schema.names)]


def test_an_honest_release_is_drawn_again(built, capsys):
    assert failed(capsys, built.release) == set()
    assert check(capsys, built.release)["ok"] is True


def test_a_site_s_real_rows_signed_again_are_seen(built, capsys, fake):
    rows = manifest_of(built.release)["rows"]
    write_data(real_rows(fake, built.plan, rows), built.release)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release, "--key", built.public_key) == {"drawn"}
    assert check(capsys, built.release)["file"] == PARQUET


def test_fewer_real_rows_than_were_drawn_are_seen(built, capsys, fake):
    write_data(real_rows(fake, built.plan, 100), built.release)
    sign_again(built.release, built.coordinator, rows=100)
    assert failed(capsys, built.release) == {"drawn"}


@pytest.mark.parametrize("change", ["one value", "two rows swapped", "one row more"])
def test_the_least_change_of_the_rows_is_seen(built, capsys, change):
    manifest = manifest_of(built.release)
    frame = pd.read_parquet(built.release / PARQUET)
    if change == "one value":
        place = int(np.flatnonzero((frame["income"] > 0) & (frame["income"] < 99))[5])
        frame.loc[place, "income"] += 1e-9
    elif change == "two rows swapped":
        frame = frame.iloc[[1, 0, *range(2, len(frame))]]
    else:
        frame = pd.concat([frame, frame.iloc[:1]], ignore_index=True)
    write_data(frame, built.release)
    sign_again(built.release, built.coordinator, rows=len(frame))
    # A row more than was drawn is drawn from the same stream, and is another row.
    assert failed(capsys, built.release) == {"drawn"}
    assert manifest["rows"] >= 1000


@pytest.mark.parametrize("array", ["probabilities", "class_prior"])
def test_an_exchanged_generator_signed_again_is_seen(built, capsys, array):
    path = built.release / "generator" / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    arrays[array] = np.ascontiguousarray(arrays[array][::-1])
    safetensors.numpy.save_file(arrays, path)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"drawn"}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(records=np.arange(5.0)),
        lambda a: a.pop("class_prior"),
        lambda a: a.update(class_prior=-a["class_prior"]),
        lambda a: a.update(class_prior=a["class_prior"] * np.nan),
        lambda a: a.update(probabilities=a["probabilities"][:, :, :-1]),
        lambda a: a.update(class_prior=np.array([1, 2, 3], dtype=np.int64)),
    ],
)
def test_arrays_that_no_such_generator_has_are_refused(built, capsys, change):
    path = built.release / "generator" / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    change(arrays)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    safetensors.numpy.save_file(arrays, path)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"generator"}
    assert check(capsys, built.release)["ok"] is None


@pytest.mark.parametrize("change", [{"kind": "vae"}, {"config": {"components": 600, "more": 1}}])
def test_a_generator_of_another_kind_or_size_than_the_plan_s_is_refused(built, capsys, change):
    path = built.release / "generator" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **change}), "utf-8")
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == {"generator"}


def test_another_seed_than_the_rows_was_drawn_with_is_seen(built, capsys):
    sign_again(built.release, built.coordinator, seed=10)
    assert failed(capsys, built.release) == {"drawn"}


def test_by_default_nobody_chooses_the_seed_and_a_chosen_one_is_said(built, capsys, tmp_path):
    assert "chose the seed" in notes(capsys, built.release)
    build_release(built.run, tmp_path / "plain")
    manifest = manifest_of(tmp_path / "plain")
    assert manifest["seed"] == public_seed(built.plan, manifest["run"])
    assert "chose the seed" not in notes(capsys, tmp_path / "plain")
    again = build_release(built.run, tmp_path / "again")
    assert (again / PARQUET).read_bytes() == (tmp_path / "plain" / PARQUET).read_bytes()


def test_quick_leaves_the_drawing_out_and_says_so(built, capsys, fake):
    write_data(real_rows(fake, built.plan, 100), built.release)
    sign_again(built.release, built.coordinator, rows=100)
    assert failed(capsys, built.release, "--quick") == set()
    found = check(capsys, built.release, "--quick")
    assert found["ok"] is None and "not done" in found["detail"]


def test_another_numpy_is_named_where_the_rows_differ(built, capsys):
    versions = manifest_of(built.release)["versions"]
    versions = {**versions, "coordinator": {**versions["coordinator"], "numpy": "1.0"}}
    sign_again(built.release, built.coordinator, versions=versions)
    assert failed(capsys, built.release) == set()
    sign_again(built.release, built.coordinator, seed=10)
    assert failed(capsys, built.release) == {"drawn"}
    assert "numpy 1.0" in check(capsys, built.release)["detail"]


@pytest.fixture
def neural(fake, site_keys, tmp_path):
    """The release of a `vae`, built with one thread."""
    keys = {name: public_key_hex(key) for name, key in site_keys.items()}
    plan = fake.make_plan(keys, kind="vae", training=fake.VAE_TRAINING, release={"rows": 70_000})
    run = fake.write_run(tmp_path / "run", plan, site_keys)
    return build_release(run, tmp_path / "release")


VERIFY = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "flwr", "opacus", "grpc", "sklearn"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
from fedloom.cli.main import main
sys.exit(main(["release", "verify", sys.argv[1]]))
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_rows_of_a_decoder_are_drawn_again_without_torch_and_with_any_threads(neural, threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, threads), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", VERIFY, str(neural)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok      drawn: 70,000 rows" in done.stdout


def test_a_weight_of_a_decoder_that_was_moved_is_seen(neural, capsys):
    path = neural / "generator" / "model.safetensors"
    arrays = safetensors.numpy.load_file(path)
    # Some thirty rows change; by a tenth of that no row would, once in some twenty seeds.
    arrays["table"][0, 0] += 1e-2
    safetensors.numpy.save_file(arrays, path)
    sign_again(neural, load_private_key(neural.parent / "run" / "coordinator.key"))
    assert failed(capsys, neural) == {"drawn"}


def test_rows_of_another_generator_with_that_generator_pass_here(built, capsys):
    """What only `--refit` sees (`tests/end_to_end/test_refit.py`): it ties generator to answers."""
    other = Artifact.load(built.release / "generator")
    other.arrays["probabilities"] = np.sqrt(other.arrays["probabilities"])
    other.save(built.release / "generator")
    manifest = manifest_of(built.release)
    frame = sample(
        other, built.plan.schema, built.plan.target, manifest["rows"], seed=manifest["seed"]
    )
    write_data(frame, built.release)
    sign_again(built.release, built.coordinator)
    assert failed(capsys, built.release) == set()
