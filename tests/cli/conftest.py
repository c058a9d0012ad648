"""The finished run of the privacy tests, for the commands that read one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_path = Path(__file__).resolve().parent.parent / "privacy" / "conftest.py"
_spec = importlib.util.spec_from_file_location("finished_run_fixtures", _path)
assert _spec is not None and _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

_built = _fixtures._built
built = _fixtures.built
fake = _fixtures.fake
