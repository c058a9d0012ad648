"""Service files with the paths of this installation filled in.

The templates lie in `deploy/service`. `@NAME@` stands for a value, because `$` and braces mean
something of their own in the files.
"""

from __future__ import annotations

import getpass
import re
import sys
from pathlib import Path

from fedloom.common.errors import ConfigError
from fedloom.common.resources import resource_path

__all__ = ["service_file"]

_MARK = re.compile(r"@([A-Z_]+)@")
# A path with other characters would need quotes, differently in each kind of file.
_PLAIN = re.compile(r"[A-Za-z0-9_./:\[\] -]*\Z")


def service_file(template: str, **values: str | int | Path) -> str:
    """Fills in a template.

    Args:
      template: its name in `deploy/service`.
      **values: by name, lower case. USER, FEDLOOM (the program) and HARDENING are known.

    Raises:
      ConfigError: a value has characters that mean something in the file.
    """
    folder = resource_path("deploy/service")
    known = {
        "USER": getpass.getuser(),
        "FEDLOOM": str(Path(sys.executable).parent / "fedloom"),
        **{name.upper(): str(value) for name, value in values.items()},
    }
    for name, value in known.items():
        if not _PLAIN.match(value):
            raise ConfigError(
                f"{value!r} ({name.lower()}) would stand in {template}; choose a path or name of "
                "letters, digits, spaces and _./:- alone"
            )
    known["HARDENING"] = (folder / "hardening.conf").read_text("utf-8").strip()
    text = (folder / template).read_text("utf-8")
    return _MARK.sub(lambda mark: known[mark[1]], text)
