"""The same package from a checkout, an editable install and a wheel.

In each, `fedloom.numpy` does not import and no bare `common`, `privacy`, `client` or `server`
is in site-packages or loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("common", "privacy", "client", "server")
PROBE = """
import importlib, json, sys
import fedloom, fedloom.common.errors, fedloom.privacy, fedloom.client, fedloom.server
import fedloom.cli.main
from fedloom.common.resources import resource_path

def imports(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True

print(json.dumps({
    "strangers": [n for n in ("numpy", "pandas", "click") if imports("fedloom." + n)],
    "bare": [n for n in ("common", "privacy", "client", "server") if n in sys.modules],
    "errors": fedloom.common.errors.__file__,
    "resources": [str(resource_path(p)) for p in ("examples/rand/study.toml",
                                                  "deploy/bundle/pyproject.toml")],
    "heavy": [n for n in ("torch", "flwr", "opacus", "pandas") if n in sys.modules],
}))
"""


def probe(python: Path | str, cwd: Path) -> dict:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), "-c", PROBE]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["strangers"] == []
    assert found["bare"] == []
    assert found["heavy"] == []
    return found


def core() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def site_packages(python: Path) -> Path:
    (found,) = python.parent.parent.glob("lib/python*/site-packages")
    return found


def run(python: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = [str(python.parent / "fedloom"), *words]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True)


def test_checkout():
    assert probe(sys.executable, ROOT)["errors"] == str(ROOT / "common" / "errors.py")


def test_a_folder_that_only_resembles_a_checkout_does_not_join(tmp_path):
    """As if installed: beside the package lies numpy, and a stranger's `common`."""
    package = tmp_path / "fedloom"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "fedloom" / "__init__.py").read_text())
    for stranger in ("numpy", "common"):
        (tmp_path / stranger).mkdir()
        (tmp_path / stranger / "__init__.py").write_text("")
    code = "import fedloom, fedloom.numpy"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert b"No module named 'fedloom.numpy'" in done.stderr


@pytest.mark.slow
def test_editable_install(environment, install, tmp_path):
    python = environment([*core(), "hatchling", "editables"])
    install(python, "-e", str(ROOT))
    assert probe(python, tmp_path)["errors"] == str(ROOT / "common" / "errors.py")
    assert not [name for name in FOLDERS if (site_packages(python) / name).exists()]


@pytest.mark.slow
def test_wheel_lies_below_one_folder(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"fedloom"}
    wanted = {
        "fedloom/__init__.py",
        "fedloom/__main__.py",
        "fedloom/py.typed",
        "fedloom/cli/main.py",
        "fedloom/common/schema.py",
        "fedloom/common/py.typed",
        "fedloom/client/app.py",
        "fedloom/server/app.py",
        "fedloom/examples/rand/study.toml",
        "fedloom/examples/rand/schema.toml",
        "fedloom/examples/rand/seattle.csv.gz",
        "fedloom/deploy/bundle/pyproject.toml",
    }
    assert wanted - set(names) == set()


@pytest.mark.slow
def test_wheel_carries_every_source_file(wheel):
    """Report templates, generated protocol code and data files included."""
    listed = subprocess.run(
        ["git", "ls-files", *FOLDERS, "fedloom", "examples/rand", "deploy/bundle"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git clone: no list of source files")
    present = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    mapped = {name if name.startswith("fedloom/") else f"fedloom/{name}" for name in present}
    assert mapped - set(zipfile.ZipFile(wheel).namelist()) == set()


@pytest.mark.slow
def test_wheel_without_torch_serves_auditors_and_consumers(wheel, environment, install, tmp_path):
    """Only the declared core dependencies, and theirs, are there."""
    python = environment(core())
    install(python, str(wheel))
    found = probe(python, tmp_path)
    assert str(site_packages(python)) in found["errors"]
    assert all(str(site_packages(python)) in path for path in found["resources"])
    assert not [name for name in FOLDERS if (site_packages(python) / name).exists()]
    missing = "import importlib.util as u; print([u.find_spec(n) for n in ('torch', 'flwr')])"
    done = subprocess.run([python, "-c", missing], capture_output=True, text=True)
    assert done.stdout.strip() == "[None, None]"

    assert run(python, "--help", cwd=tmp_path).returncode == 0
    doctor = run(python, "doctor", "--json", cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout
    example = Path(found["resources"][0])
    for words in (
        ["study", "check", str(example)],
        [
            "schema",
            "check",
            str(example.parent / "schema.toml"),
            str(example.parent / "dayton.csv.gz"),
        ],
    ):
        done = run(python, *words, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    # No such release: an answer about the input, not a missing module.
    for words in (["release", "verify", "nowhere"], ["ledger", "verify", "nowhere"]):
        done = run(python, *words, cwd=tmp_path)
        assert done.returncode in (2, 4), (words, done.stderr)
        assert "not installed" not in done.stderr
    # What needs torch says how to get it.
    done = run(python, "demo", "--out", "demo", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'fedloom[train]'" in done.stderr
