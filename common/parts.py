"""Parts of registries' entries, named and imported when they are needed.

An entry names its parts as "module:name", so that reading a registry imports none of them: a study
is checked, and a release verified, without torch, and `common` may name what another room holds.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load_part"]


def load_part(path: str) -> Any:
    """Imports a part of an entry, "module:name".

    >>> load_part("math:floor")(2.5)
    2
    """
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
