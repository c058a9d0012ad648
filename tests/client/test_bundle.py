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


def zipped(compression: int = zipfile.ZIP_STORED, project: bytes = PROJECT) -> bytes:
    buffer = io.BytesIO()
    line = f"pyproject.toml,{hashlib.sha256(project).hexdigest()},{len(project) * 8}"
    with zipfile.ZipFile(buffer, "w", compression) as bundle:
        bundle.writestr("pyproject.toml", project)
        bundle.writestr(".info/CONTENT", line)
    return buffer.getvalue()


def with_flag(data: bytes, flag: int) -> bytes:
    """Sets a flag of every member, in its own header and in the list of members."""
    flagged = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            flagged[at + offset] |= flag
            at = data.find(mark, at + 4)
    return bytes(flagged)


def damaged_lzma() -> bytes:
    data = bytearray(zipped(zipfile.ZIP_LZMA))
    data[60:90] = b"\xff" * 30
    return bytes(data)


def test_stored_and_deflated_bundles_are_accepted():
    check_bundle(zipped())
    check_bundle(zipped(zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize(
    "data",
    [
        zipped(zipfile.ZIP_LZMA),
        zipped(zipfile.ZIP_BZIP2),
        damaged_lzma(),
        with_flag(zipped(), 1),
        with_flag(zipped(), 8),
        zipped(project=b"a = " + b"[" * 20_000),
        zipped(zipfile.ZIP_DEFLATED, PROJECT + b"\n#" + b"#" * 5_000_000),
        b"before" + zipped(),
        zipped() + zipped(),
        zipped(zipfile.ZIP_DEFLATED) + zipped(),
        zipped() + b"after",
        zipped()[:-2] + b"\x05\x00after",
        b"PK\x03\x04",
        b"PK\x03\x04" + zipped(),
    ],
    # A zip holds the time at which it was made: names of tests may not be taken from its bytes.
    ids=[
        "lzma",
        "bzip2",
        "damaged-lzma",
        "encrypted",
        "descriptor",
        "deep",
        "large",
        "bytes-before",
        "twice",
        "deflated-then-stored",
        "bytes-after",
        "bytes-after-a-cut",
        "mark-alone",
        "mark-before",
    ],
)
def test_a_zip_that_is_not_plain_from_end_to_end_is_refused(data):
    with pytest.raises(BundleError):
        check_bundle(data)


def test_every_byte_of_a_bundle_counts():
    """No altered byte makes anything but a refusal or the same two files."""
    whole = zipped(zipfile.ZIP_DEFLATED)
    for at in range(len(whole)):
        for flip in (0x01, 0x40, 0xFF):
            altered = bytearray(whole)
            altered[at] ^= flip
            try:
                check_bundle(bytes(altered))
            except BundleError:
                continue
            with zipfile.ZipFile(io.BytesIO(altered)) as bundle:
                assert bundle.read("pyproject.toml") == PROJECT
                assert sorted(bundle.namelist()) == [".info/CONTENT", "pyproject.toml"]
