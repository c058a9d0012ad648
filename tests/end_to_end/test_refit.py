"""A generator that the sites' answers do not give is seen by `release verify --refit`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedloom
from fedloom.common.artifact import Artifact
from fedloom.common.errors import ReleaseError
from fedloom.common.sampling import sample
from fedloom.privacy.keys import load_private_key
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.data import write_data
from fedloom.privacy.release.verify.generator import REFIT_TOLERANCE
from tests.federation import cli, make
from tests.tampering import manifest_of, sign_again

NAMES = ("east", "north", "south", "west")
EVALUATED = "\n[evaluation]\nshare = 0.2\nhold_back = 0.3\n"
CASES = {
    "mixture": ("mixture", "per-site"),
    "tree": ("tree", "per-site"),
    "tree by a secure sum": ("tree", "secure-sum"),
    "mixture by a secure sum": ("mixture", "secure-sum"),
    "weights": ("weights", "per-site"),
    "gradients": ("gradients", "per-site"),
    "gradients by a secure sum": ("gradients", "secure-sum"),
    "gan": ("gan", "per-site"),
}
TRAINED = [name for name in CASES if not name.startswith(("mixture", "tree"))]


@pytest.fixture(scope="module")
def _made(tmp_path_factory) -> dict[str, Path]:
    """Folders of run, release and evidence that were made already."""
    return {}


@pytest.fixture
def released(request, _made, tmp_path_factory, tmp_path) -> Path:
    """A fresh copy of release and evidence of a case, with the publisher's key."""
    case = request.param
    if case not in _made:
        folder = tmp_path_factory.mktemp("made")
        model, trust = CASES[case]
        more = EVALUATED if trust == "secure-sum" else ""
        federation = make(folder / "study", model, sites=NAMES, trust=trust, more=more)
        assert federation.simulate(folder / "run").code == 0
        words = ("release", "build", folder / "run", "--out", folder / "release")
        assert cli(*words, "--evidence", folder / "evidence").code == 0
        _made[case] = folder
    for name in ("release", "evidence"):
        shutil.copytree(_made[case] / name, tmp_path / name)
    shutil.copy(_made[case] / "run" / "coordinator.key", tmp_path / "coordinator.key")
    return tmp_path


def verified(folder: Path, *options: str | Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Verifies with --json; returns the exit code, and the checks by their name."""
    result = cli("release", "verify", folder / "release", "--json", *options)
    return result.code, {check["name"]: check for check in result.json["checks"]}


def failed(checks: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name, check in checks.items() if check["ok"] is False}


def publish(folder: Path, generator: Artifact) -> None:
    """Does what a dishonest publisher would: another generator, its own rows, signed again."""
    release, plan = folder / "release", Plan.load(folder / "release" / "plan.json")
    shutil.rmtree(release / "generator")
    generator.save(release / "generator")
    manifest = manifest_of(release)
    rows, seed = manifest["rows"], manifest["seed"]
    write_data(sample(generator, plan.schema, plan.target, rows, seed=seed), release)
    sign_again(release, load_private_key(folder / "coordinator.key"))


def moved(generator: Artifact, by: float) -> Artifact:
    """Moves one number of the generator's largest array, by a share of that array's greatest."""
    name = max(generator.arrays, key=lambda name: generator.arrays[name].size)
    array = generator.arrays[name].copy()
    array.flat[int(np.abs(array).argmax())] *= 1 - by
    return Artifact(
        kind=generator.kind, config=generator.config, arrays={**generator.arrays, name: array}
    )


@pytest.mark.parametrize("released", [name for name in CASES if name not in TRAINED], indirect=True)
def test_an_honest_generator_of_statistics_is_fitted_again_from_the_release_alone(released):
    code, checks = verified(released, "--refit")
    assert (code, failed(checks)) == (0, set())
    assert checks["refit"]["ok"] is True and checks["evidence"]["ok"] is None


@pytest.mark.parametrize("released", TRAINED, indirect=True)
def test_an_honest_trained_generator_is_fitted_again_from_the_evidence(released):
    code, checks = verified(released, "--refit", "--evidence", released / "evidence")
    assert (code, failed(checks)) == (0, set())
    assert checks["refit"]["ok"] is True


@pytest.mark.parametrize("released", ["weights"], indirect=True)
def test_a_trained_generator_without_evidence_is_an_error_that_names_the_option(released):
    result = cli("release", "verify", released / "release", "--refit")
    assert result.code == 2
    assert "--evidence" in result.err and len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize("released", ["mixture"], indirect=True)
def test_without_refit_it_is_printed_as_not_done(released):
    code, checks = verified(released)
    assert code == 0 and checks["refit"]["ok"] is None
    assert "not done" in checks["refit"]["detail"]
    assert "-       refit: not done" in cli("release", "verify", released / "release").out


@pytest.mark.parametrize("released", list(CASES), indirect=True)
def test_another_generator_with_its_own_rows_signed_again_is_seen(released):
    publish(released, moved(Artifact.load(released / "release" / "generator"), 0.01))
    evidence = ("--evidence", released / "evidence")
    assert verified(released, *evidence)[0] == 0
    code, checks = verified(released, *evidence, "--refit")
    assert (code, failed(checks)) == (4, {"refit"})
    assert checks["refit"]["file"] == "generator/" and checks["refit"]["remedy"]


@pytest.mark.parametrize("released", ["mixture"], indirect=True)
def test_python_refits_likewise(released):
    folder = released / "release"
    assert "refit" in {
        one.name for one in fedloom.Release(folder).verify(refit=True).checks if one.ok
    }
    publish(released, moved(Artifact.load(folder / "generator"), 0.01))
    assert fedloom.verify(folder).ok
    with pytest.raises(ReleaseError, match="'refit'"):
        fedloom.verify(folder, refit=True)


@pytest.mark.parametrize("released", ["mixture"], indirect=True)
def test_the_tolerance_is_where_it_is_stated(released):
    honest = Artifact.load(released / "release" / "generator")
    publish(released, moved(honest, 0.3 * REFIT_TOLERANCE))
    assert failed(verified(released, "--refit")[1]) == set()
    publish(released, moved(honest, 3 * REFIT_TOLERANCE))
    assert failed(verified(released, "--refit")[1]) == {"refit"}


@pytest.mark.parametrize("released", ["mixture"], indirect=True)
def test_fewer_components_than_the_answers_give_are_seen(released):
    honest = Artifact.load(released / "release" / "generator")
    fewer = honest.arrays["probabilities"][:, :1]
    publish(
        released,
        Artifact(
            kind="mixture",
            config={"components": 1},
            arrays={**honest.arrays, "probabilities": np.ascontiguousarray(fewer)},
        ),
    )
    assert failed(verified(released)[1]) == set()
    assert failed(verified(released, "--refit")[1]) == {"refit"}


@pytest.mark.parametrize("released", ["gradients by a secure sum"], indirect=True)
def test_nothing_is_fitted_from_evidence_that_did_not_hold(released):
    shutil.rmtree(released / "evidence" / "round-0003")
    code, checks = verified(released, "--refit", "--evidence", released / "evidence")
    assert (code, failed(checks)) == (4, {"evidence"})
    assert checks["refit"]["ok"] is None


WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from fedloom.cli.main import main
sys.exit(main(["release", "verify", sys.argv[1], "--refit"]))
"""


@pytest.mark.parametrize("released", ["mixture"], indirect=True)
def test_without_torch_refitting_is_refused_and_the_release_not_blamed(released):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(released / "release")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "this needs torch" in done.stderr
