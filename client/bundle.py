"""What a site lets Flower bring: a bundle of names, without code.

Flower installs the bundle that the coordinator submits and puts its folder first on the path,
so a bundle with a file more could replace fedloom itself. A site therefore takes one bundle
only: the two files that Flower needs, with exactly the content of `deploy/bundle`, in a plain
zip that can be read in one way: its members follow each other from the first byte to the list of
members, and that list and its end are the last bytes.
"""

from __future__ import annotations

import hashlib
import io
import struct
import tomllib
import zipfile
from typing import Any

from fedloom.common.errors import RefusedError
from fedloom.common.resources import resource_path

__all__ = ["BundleError", "check_bundle", "expected_bundle"]

_PROJECT = "pyproject.toml"
_CONTENT = ".info/CONTENT"
_MAX_BYTES = 64 * 1024
_FIRST_BYTES = b"PK\x03\x04"
_LOCAL_HEADER_BYTES = 30
_LIST_HEADER_BYTES = 46
_END = struct.Struct("<4s4H2LH")
_END_BYTES = b"PK\x05\x06"
_UTF8_NAME = 0x800


class BundleError(RefusedError):
    """An error for a Flower bundle that is not fedloom's."""


def expected_bundle() -> dict[str, Any]:
    """Returns the content of the one `pyproject.toml` that a site accepts."""
    return tomllib.loads((resource_path("deploy/bundle") / _PROJECT).read_text())


def check_bundle(data: bytes) -> None:
    """Holds a bundle against the expected one.

    Raises:
      BundleError: it cannot be read, holds another file, or one of the two has another content.
    """
    try:
        _check(data)
    except BundleError:
        raise
    except Exception as error:  # whatever a hostile file makes a reader raise
        raise BundleError("the bundle cannot be read") from error


def _check(data: bytes) -> None:
    if len(data) > _MAX_BYTES:
        raise BundleError(f"the bundle is larger than {_MAX_BYTES} bytes")
    if not data.startswith(_FIRST_BYTES):
        raise BundleError("the bundle is no zip from its first byte on")
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        members = sorted(bundle.infolist(), key=lambda member: member.filename)
        names = [member.orig_filename for member in members]
        if names != [_CONTENT, _PROJECT]:
            raise BundleError(
                f"the bundle must hold {_PROJECT} and {_CONTENT} and nothing else; it holds "
                f"{len(names)} files, {names[:5]}; no code may come from the coordinator"
            )
        if any(member.file_size > _MAX_BYTES for member in members):
            raise BundleError(f"a file of the bundle is larger than {_MAX_BYTES} bytes")
        _check_layout(data, members)
        content = bundle.read(_CONTENT).decode()
        project = bundle.read(_PROJECT)
    if tomllib.loads(project.decode()) != expected_bundle():
        raise BundleError(
            f"the bundle's {_PROJECT} is not that of the installed fedloom; coordinator and site "
            "must install the same minor version"
        )
    digest = hashlib.sha256(project).hexdigest()
    if content.strip() != f"{_PROJECT},{digest},{len(project) * 8}":
        raise BundleError(f"the bundle's {_CONTENT} does not describe its {_PROJECT}")


def _check_layout(data: bytes, members: list[zipfile.ZipInfo]) -> None:
    """Raises unless every byte of the zip belongs to a plain member, the list or its end."""
    at = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not plain or member.flag_bits & ~_UTF8_NAME or member.extra or member.comment:
            raise BundleError(f"{member.filename} is packed in a way that Flower does not use")
        name_bytes, extra_bytes = struct.unpack_from("<2H", data, member.header_offset + 26)
        if member.header_offset != at or name_bytes != len(member.filename) or extra_bytes:
            raise BundleError("the bundle holds bytes that belong to no file")
        at += _LOCAL_HEADER_BYTES + name_bytes + member.compress_size
    listed = sum(_LIST_HEADER_BYTES + len(member.filename) for member in members)
    end = (_END_BYTES, 0, 0, len(members), len(members), listed, at, 0)
    if data[at + listed :] != _END.pack(*end):
        raise BundleError("the bundle holds bytes that belong to no file")
