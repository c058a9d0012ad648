"""Plans, requests and neighbouring records for audits of `client.queries.answer_arrays` itself.

Plans are resolved from a study's file like any other, but at a given noise, so that an audit has
power: the price that follows is far above what a study would take. Records go the way of a
steward's table: read, encoded, capped, split and frozen (`client.records`), and loaded again. The
neighbour is the same snapshot without the canary.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fedloom
from fedloom.client.home import Home
from fedloom.client.records import Records, Snapshot, freeze, load_records
from fedloom.client.request_check import asked_round, check_arrays
from fedloom.common.messages import Request
from fedloom.common.study import load_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import assemble, drafts_of
from tests.federation import MODELS, make, request

__all__ = [
    "CANARY",
    "FOUR_COLUMNS",
    "MANY_LEVELS",
    "FOUR_SITES",
    "OTHER",
    "ROWS_PER_PERSON",
    "WITH_BOXES",
    "WITH_SETS",
    "Neighbours",
    "allowed",
    "audited_plan",
    "cells_of",
    "neighbours",
]

FOUR_SITES = ("east", "north", "south", "west")
ROWS_PER_PERSON = 3
# No other row shares a cell with the canary; its town spells at exactly the norm of all texts. Its
# set has more items than are kept, and one twice.
CANARY = {"age": 63, "sex": "male", "town": "canary-town", "visited": "yes", "insured": "yes"}
CANARY["codes"] = "c1|c1|c2|c3|c4"
OTHER = {"age": 0, "sex": "female", "town": "east", "visited": "no", "insured": "no", "codes": ""}
_SCHEMA = """
[[column]]
name = "age"
kind = "integer"
min = 0
max = 63

[[column]]
name = "sex"
kind = "category"
values = ["female", "male"]

[[column]]
name = "town"
kind = "category"
values = ["east", "west", "canary-town"]

[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]
"""
FOUR_COLUMNS = (
    f'{_SCHEMA}\n[[column]]\nname = "insured"\nkind = "category"\nvalues = ["no", "yes"]\n'
)
"""A schema with one more column: from four columns on there are sums of parities."""
WITH_SETS = (
    f'{_SCHEMA}\n[[column]]\nname = "codes"\nkind = "set"\nmax_items = 3\n'
    f"values = {json.dumps([f'c{number}' for number in range(20)])}\n"
)
"""A schema with sets of at most three of twenty items: counted with 1 alone."""
WITH_BOXES = WITH_SETS.replace(
    json.dumps([f"c{number}" for number in range(20)]),
    json.dumps([f"c{number}" for number in range(8)]),
)
"""The same with eight items: counted with 1 and -1."""
_TOWNS = ["east", "west", "canary-town", *(f"town-{number}" for number in range(61))]
_TREE = [[town, f"n32-{number // 2}"] for number, town in enumerate(_TOWNS)]
_TREE += [[f"n{n}-{k}", f"n{n // 2}-{k // 2}"] for n in (32, 16, 8, 4) for k in range(n)]
MANY_LEVELS = _SCHEMA.replace(
    'values = ["east", "west", "canary-town"]',
    f"values = {json.dumps(_TOWNS)}\nhierarchy = {json.dumps(_TREE)}",
)
"""A schema with a column of 64 codes, counted on five levels above them too."""
_OPEN = {
    "age": '[[column]]\nname = "age"\nkind = "integer"\nbounds = "private"\n',
    "town": '[[column]]\nname = "town"\nkind = "category"\nvalues = "private"\n',
}
_PERSONS = f'unit = "person"\nid = "patient"\nrows_per_person = {ROWS_PER_PERSON}\n'


def audited_plan(
    folder: Path,
    model: str,
    *,
    noise: Mapping[str, float],
    sites: Sequence[str] = ("north",),
    persons: bool = False,
    overlap: int = 1,
    trust: str = "per-site",
    open_columns: Sequence[str] = (),
    schema: str = _SCHEMA,
    more: str = "",
) -> Plan:
    """Resolves a study at the given noise multipliers of its phases.

    Args:
      folder: For the study's files.
      model: A key of `tests.federation.MODELS`, or the text of `[model]` and `[training]`.
      noise: Noise multiplier of each phase, by its name.
      sites: Names of the sites.
      persons: Whether the unit is a person, of `ROWS_PER_PERSON` rows at most.
      overlap: How many sites may have records of one person.
      trust: "per-site" or "secure-sum".
      open_columns: Columns of a study that learns its schema.
      schema: Text of the schema of any other.
      more: Further text of the study.
    """
    federation = make(folder, "mixture", sites=tuple(sites), trust=trust, more=more, epsilon=500.0)
    federation.edit(MODELS["mixture"], MODELS.get(model, model))
    if persons:
        federation.edit("delta = 1e-3\n", f"delta = 1e-3\n{_PERSONS}overlap = {overlap}\n")
    if open_columns:
        federation.edit('target = "visited"\n', "")
        schema = "\n".join(_OPEN[name] for name in open_columns)
    (folder / "schema.toml").write_text(schema)
    study, read = load_study(federation.study)
    phases = [draft.at(noise[draft.name]) for draft in drafts_of(study, read)]
    return assemble(study, read, phases, version=fedloom.__version__)


def allowed(plan: Plan, number: int, **changes: Any) -> Request:
    """Returns a request for a round, which the vault of every site of its roster would take."""
    asked = request(plan, plan.rounds[number - 1].query, number, **changes)
    for site in asked.roster:
        asked_round(plan, asked, site=site)
    check_arrays(plan, asked)
    return asked


@dataclasses.dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Two snapshots that differ by one unit, the canary."""

    without: Snapshot
    with_it: Snapshot


def neighbours(
    home: Home, plan: Plan, *, rows: int = 1, others: int = 4, held_back: bool = False
) -> Neighbours:
    """Freezes and loads a table with the canary.

    Args:
      home: Where the snapshot lies.
      plan: The plan.
      rows: Rows of the canary; of one person, if persons are units.
      others: Number of further units, of one row each, all alike.
      held_back: On which side the canary's coin falls, in a plan that evaluates.
    """
    frame = pd.DataFrame([OTHER] * others + [CANARY] * rows)
    frame["patient"] = [f"other-{number}" for number in range(others)] + ["canary"] * rows
    part, other_part = "training", "held_back"
    if held_back:
        part, other_part = other_part, part
    for _ in range(100):  # each time another toss
        loaded = load_records(home, plan, freeze(home, plan, frame))
        if _rows_of_canary(plan, getattr(loaded, other_part)).any():
            continue
        records = getattr(loaded, part)
        remaining = _without(records, _rows_of_canary(plan, records))
        without = dataclasses.replace(loaded, **{part: remaining})
        return Neighbours(without=without, with_it=loaded)
    raise AssertionError("a fair coin does not fall on one side a hundred times")


def cells_of(plan: Plan, row: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Returns which cells of all features a row has, one in each block."""
    encoding = plan.encoding
    codes = encoding.feature_codes(encoding.encode(pd.DataFrame([row])).codes)[0]
    return np.array([block.start for block in encoding.features]) + codes


def _rows_of_canary(plan: Plan, records: Records) -> np.ndarray[Any, Any]:
    coder = plan.discovery if plan.learns_schema else plan.encoding
    codes = coder.coded(pd.DataFrame([CANARY])).features
    mine: np.ndarray[Any, Any] = (records.features == codes).all(axis=1)
    return mine


def _without(records: Records, mine: np.ndarray[Any, Any]) -> Records:
    persons = records.persons
    if persons is not None:
        persons = np.unique(persons[~mine], return_inverse=True)[1].astype(np.int64)
    return Records(
        features=records.features[~mine], classes=records.classes[~mine], persons=persons
    )
