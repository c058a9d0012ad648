"""The finished run of the privacy tests, for the commands that read one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.schema import Schema
from fedloom.privacy.resolve import replaced

_path = Path(__file__).resolve().parent.parent / "privacy" / "conftest.py"
_spec = importlib.util.spec_from_file_location("finished_run_fixtures", _path)
assert _spec is not None and _spec.loader is not None
_fixtures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_fixtures)

_built = _fixtures._built
built = _fixtures.built
fake = _fixtures.fake


@pytest.fixture(scope="session")
def stays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a sample is drawn from: a plan, and a mixture with constraints to keep."""
    columns = [
        {"name": "age", "kind": "integer", "min": 0, "max": 99, "bins": 10},
        {"name": "admitted", "kind": "datetime", "min": "2020-01-01", "max": "2020-12-31"},
        {
            "name": "discharged",
            "kind": "datetime",
            "min": "2020-01-01",
            "max": "2020-12-31",
            "nullable": True,
        },
        {"name": "state", "kind": "category", "values": ["NY", "MA"]},
        {"name": "city", "kind": "category", "values": ["Albany", "Boston", "New York, NY"]},
        {"name": "died", "kind": "category", "values": ["no", "yes"]},
    ]
    cities = [["NY", "Albany"], ["NY", "New York, NY"], ["MA", "Boston"]]
    constraints = [
        {"kind": "order", "columns": ["admitted", "discharged"]},
        {"kind": "fixed-combinations", "columns": ["state", "city"], "rows": cities},
    ]
    schema = Schema.from_dict({"column": columns, "constraint": constraints})
    encoding = Encoding(schema, "died")
    rng = np.random.default_rng(20260101)
    cells = rng.gamma(0.5, size=(encoding.num_classes, 8, encoding.width))
    for block in encoding.features:
        cells[:, :, block.start : block.start + block.size] *= block.sampleable
    arrays = {"probabilities": cells, "class_prior": np.array([0.9, 0.1, 0.0])}
    folder = tmp_path_factory.mktemp("stays")
    Artifact(kind="mixture", config={}, arrays=arrays).save(folder / "generator")
    keys = {"north": "a" * 64, "south": "b" * 64}
    plan = _fixtures.make_plan(keys)
    replaced(plan, schema=schema, target="died").save(folder / "plan.json")
    return folder
