"""fedloom: institutions that may not share records publish one synthetic data set together.

In the wheel `common`, `privacy`, `client` and `server` lie inside this folder. In a checkout
they lie beside it, so the checkout's root joins this package's path; only fedloom's own
checkout does, or `fedloom.numpy` would import whatever stands beside an installed package.

`simulate`, `Source` and `Run` are the interface for Python to studies; `Release`, `read` and
`verify` are that to releases. They are loaded when first used.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedloom.api import Run, simulate, verify
    from fedloom.client.sources import Source
    from fedloom.common.version import VERSION as __version__
    from fedloom.consumer import Release, read

__all__ = ["Release", "Run", "Source", "__version__", "read", "simulate", "verify"]

_HOMES = {
    "Release": ("fedloom.consumer", "Release"),
    "Run": ("fedloom.api", "Run"),
    "Source": ("fedloom.client.sources", "Source"),
    "__version__": ("fedloom.common.version", "VERSION"),
    "read": ("fedloom.consumer", "read"),
    "simulate": ("fedloom.api", "simulate"),
    "verify": ("fedloom.api", "verify"),
}
_root = Path(__file__).resolve().parent.parent
_parts = ("common", "privacy", "client", "server", "deploy", "pyproject.toml")

if all((_root / part).exists() for part in _parts):
    __path__ = [str(Path(__file__).resolve().parent), str(_root)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'fedloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
