"""fedloom: institutions that may not share records publish one synthetic data set together.

In the wheel `common`, `privacy`, `client` and `server` lie inside this folder. In a checkout
they lie beside it, so the checkout's root joins this package's path; only fedloom's own
checkout does, or `fedloom.numpy` would import whatever stands beside an installed package.
"""

from __future__ import annotations

from pathlib import Path

_root = Path(__file__).resolve().parent.parent
_parts = ("common", "privacy", "client", "server", "deploy", "pyproject.toml")

if all((_root / part).exists() for part in _parts):
    __path__ = [str(Path(__file__).resolve().parent), str(_root)]

__version__ = "0.1.0"
