"""A home is for one unit of privacy: records, or persons by one column of ids.

Losses of records and of persons cannot be added up: a person's rows are no unit of a plan for
records, and one row is none of a plan for persons, whose clip and whose choice of rows are for all
of them together. So a plan is approved only if every other that is approved, or of which a run has
answered or may still answer, has its unit.
"""

from __future__ import annotations

from fedloom.common.errors import RefusedError
from fedloom.common.vocabulary import Unit
from fedloom.privacy.ledger.wording import words

__all__ = ["check_unit"]


def check_unit(unit: str, id_column: str | None, *, held: tuple[str, str | None] | None) -> None:
    """Checks that a plan's losses can be added to a home's.

    Args:
      unit: of the plan: "record" or "person".
      id_column: that tells persons apart; None for records.
      held: unit and column of what the home holds; None if it holds nothing.

    Raises:
      RefusedError: they cannot, or a plan for persons names no column.
    """
    if (unit == Unit.PERSON) != (id_column is not None):
        raise RefusedError("a plan for persons, and no other, names the column of their ids")
    if held not in (None, (unit, id_column)):
        raise RefusedError(
            f"the plan's unit of privacy is {words(unit, id_column)}, and this home's is "
            f"{words(*held)}: their losses cannot be added up to one limit. Ask for a study "
            "with this home's unit; only a home from which nothing was answered may change "
            "it, once its other studies are revoked and their runs are finished"
        )
