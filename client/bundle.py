"""What a site lets Flower bring: a bundle of names, without code.

Flower installs the bundle that the coordinator submits and puts its folder first on the path,
so a bundle with a file more could replace fedloom itself. A site therefore takes one bundle
only: the two files that Flower needs, with exactly the content of `deploy/bundle`.
"""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
import zlib
from typing import Any

from fedloom.common.errors import RefusedError
from fedloom.common.resources import resource_path

__all__ = ["BundleError", "check_bundle", "expected_bundle"]

_PROJECT = "pyproject.toml"
_CONTENT = ".info/CONTENT"
_MAX_BYTES = 64 * 1024


class BundleError(RefusedError):
    """An error for a Flower bundle that is not fedloom's."""


def expected_bundle() -> dict[str, Any]:
    """Returns the content of the one `pyproject.toml` that a site accepts."""
    return tomllib.loads((resource_path("deploy/bundle") / _PROJECT).read_text())


def check_bundle(data: bytes) -> None:
    """Holds a bundle against the expected one.

    Raises:
      BundleError: it holds another file, or one of the two has another content.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            members = sorted(bundle.infolist(), key=lambda member: member.filename)
            names = [member.filename for member in members]
            if names != [_CONTENT, _PROJECT]:
                raise BundleError(
                    f"the bundle must hold {_PROJECT} and {_CONTENT} and nothing else; it holds "
                    f"{len(names)} files, {names[:5]}; no code may come from the coordinator"
                )
            if any(member.file_size > _MAX_BYTES for member in members):
                raise BundleError(f"a file of the bundle is larger than {_MAX_BYTES} bytes")
            content = bundle.read(_CONTENT).decode()
            project = bundle.read(_PROJECT)
            found = tomllib.loads(project.decode())
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise BundleError("the bundle cannot be read") from error
    if found != expected_bundle():
        raise BundleError(
            f"the bundle's {_PROJECT} is not that of the installed fedloom; coordinator and site "
            "must install the same minor version"
        )
    digest = hashlib.sha256(project).hexdigest()
    if content.strip() != f"{_PROJECT},{digest},{len(project) * 8}":
        raise BundleError(f"the bundle's {_CONTENT} does not describe its {_PROJECT}")
