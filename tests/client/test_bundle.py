from __future__ import annotations

import hashlib
import io
import zipfile

import pytest
from flwr.cli.build import build_fab_from_disk

from fedloom.client.bundle import BundleError, check_bundle
from fedloom.common.resources import resource_path

PROJECT = (resource_path("deploy/bundle") / "pyproject.toml").read_bytes()


def packed(files: list[tuple[str, bytes]], content: str | None = None) -> bytes:
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}" for name, data in files]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, data in files:
            bundle.writestr(name, data)
        bundle.writestr(".info/CONTENT", "\n".join(lines) if content is None else content)
    return buffer.getvalue()


def test_the_bundle_that_flower_builds_from_ours_is_accepted(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "pyproject.toml").write_bytes(PROJECT)
    check_bundle(build_fab_from_disk(folder))


def test_one_file_more_is_refused(tmp_path):
    for name in ("fedloom/__init__.py", "sitecustomize.py", "README.md", "../x.py"):
        with pytest.raises(BundleError, match="nothing else"):
            check_bundle(packed([("pyproject.toml", PROJECT), (name, b"import os")]))


def test_the_same_name_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = packed([("pyproject.toml", PROJECT), ("pyproject.toml", PROJECT)])
    with pytest.raises(BundleError, match="nothing else"):
        check_bundle(twice)


@pytest.mark.parametrize(
    "old, new",
    [
        (b"fedloom.client.app:app", b"os.path:app"),
        (b"fedloom.server.app:app", b"evil:app"),
        (b'publisher = "fedloom"', b'publisher = "other"'),
        (b'name = "fedloom"', b'name = "other"'),
        (b'dependencies = ["flwr"]', b'dependencies = ["flwr", "evil"]'),
        (b'run-dir = ""', b'run-dir = ""\nmore = 1'),
        (b"[tool.flwr.app.components]", b'[tool.flwr.app.components]\nagentapp = "evil:app"'),
    ],
)
def test_another_name_anywhere_is_refused(old, new):
    assert PROJECT.count(old) == 1
    with pytest.raises(BundleError, match="not that of the installed fedloom"):
        check_bundle(packed([("pyproject.toml", PROJECT.replace(old, new))]))


@pytest.mark.parametrize(
    "content", ["", "pyproject.toml,00,0", "../../key.pem,00,0", "pyproject.toml,x,y\na,b,c"]
)
def test_a_list_of_content_that_says_something_else_is_refused(content):
    with pytest.raises(BundleError, match="does not describe"):
        check_bundle(packed([("pyproject.toml", PROJECT)], content))


def test_what_cannot_be_read_or_is_huge_is_refused():
    whole = packed([("pyproject.toml", PROJECT)])
    for broken in (b"", b"no zip", whole[:-30], whole.replace(b"[project]", b"[project ", 1)):
        with pytest.raises(BundleError):
            check_bundle(broken)
    with pytest.raises(BundleError, match="larger"):
        check_bundle(packed([("pyproject.toml", PROJECT + b"#" * 70_000)]))
