"""Says which columns a plan uses, and what of the records it changes or leaves out.

Part of what a steward reads before approving. It is told from the plan alone; how many values of
the site's own table are concerned, `fedloom.client.data_check` counts.
"""

from __future__ import annotations

from fedloom.common.schema import Column
from fedloom.common.vocabulary import Unit
from fedloom.privacy.plan import Plan

__all__ = ["columns_in_words"]


def columns_in_words(plan: Plan) -> list[str]:
    """Names every column with its kind, the label, the id, and what is clamped or set aside."""
    number = len(plan.schema.columns)
    ids = "" if plan.privacy.id is None else ", beside the id column"
    lines = [
        f"It uses {number} column{'' if number == 1 else 's'} of your table{ids}, and no other:",
        *(f"  {_column(plan, column)}" for column in plan.schema.columns),
        *plan.schema.records.in_words(),
        "It has no label (target)."
        if plan.target is None
        else f"The label (target) is {plan.target!r}: counts and synthetic rows are made for each "
        "of its values.",
        _ids(plan),
        *(_values_of_open(plan) if plan.learns_schema else _values(plan)),
        "`site approve` refuses a table with values that do not fit; `--clamp` accepts the odd "
        "one, as said here.",
    ]
    if plan.privacy.unit is Unit.PERSON:
        most = plan.privacy.rows_per_person
        lines.append(
            f"Of one person {most} row{'' if most == 1 else 's'} at most "
            f"{'is' if most == 1 else 'are'} used (rows_per_person). Which of more, the lot "
            "decides; the rest are set aside, and so are rows without an id."
        )
    if plan.evaluation is not None:
        lines.append(
            f"About {plan.evaluation.hold_back:.3g} of your {plan.privacy.unit}s, drawn by lot "
            "(hold_back), are set aside for scores: nothing else uses them."
        )
    return lines


def _column(plan: Plan, column: Column) -> str:
    """Describes one column on one line."""
    if column.open:
        said = "values not known" if column.kind == "category" else "bounds not known"
        said += ", learned by this study"
    elif column.kind == "category":
        said = f"{len(column.values)} values"
        if column.hierarchy:
            said += ", rare ones counted together by the hierarchy of the schema"
    elif column.kind == "set":
        most = column.maximum
        said = f"of {len(column.values)} items at most {most} of each row"
    else:
        said = f"{column.minimum} to {column.maximum}"
    parts = [f"{column.name}: {column.kind}, {said}"]
    if column.special:
        parts.append("special values " + ", ".join(str(value) for value in column.special))
    if column.nullable:
        parts.append("may be missing")
    if column.name == plan.target:
        parts.append("the label (target)")
    if plan.learns_schema and not column.open:
        parts.append("known, so not counted")
    return "; ".join(parts)


def _ids(plan: Plan) -> str:
    privacy = plan.privacy
    if privacy.unit is Unit.RECORD:
        return (
            "It has no id column: each row counts by itself. If people have several rows here, "
            'have the study say unit = "person".'
        )
    return (
        f"The id column is {privacy.id!r}: it tells which rows are one person's. It stays here; "
        "no id is frozen or leaves."
    )


def _values(plan: Plan) -> list[str]:
    """Says what becomes of values that the schema does not hold."""
    columns, lines = plan.schema.columns, []
    numbers = [column for column in columns if column.kind not in ("category", "set")]
    if numbers:
        special = " (but for special values)" if any(column.special for column in numbers) else ""
        lines.append(
            "Clamped: a number or date beyond its column's bounds counts as the nearest "
            f"bound{special}; in an integer column a fraction is cut off."
        )
    lines.append(
        "Set aside: a value that cannot be read, that is no listed category, or that is missing "
        "where none may be. It counts as 'other', and the rest of its row stays in use."
    )
    sets = [column.name for column in columns if column.kind == "set"]
    if sets:
        lines.append(
            f"Cut: of a row's items in {', '.join(sets)} the first count that are listed, as many "
            "as said above; other items are left out, and how many were is told to nobody."
        )
    labels = [f"{column.name} as {column.other!r}" for column in columns if column.other]
    if labels:
        lines.append(
            f"Values that are set aside are synthesised under a label in: {', '.join(labels)}."
        )
    return lines


def _values_of_open(plan: Plan) -> list[str]:
    """Says the same of a study that learns the schema: it has no bounds yet."""
    return [
        "Clamped: a number or date beyond a fixed public axis (numbers from about 1e15 on, dates "
        "before 1800 or after 2199) counts at its end.",
        "Set aside: a value that cannot be read, and a text that is empty, not printable or too "
        "long. It counts as 'unfit', and the rest of its row stays in use.",
    ]
