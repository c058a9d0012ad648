"""Reads the rows of a CSV file that a schema names: public text, each cell by its column's name."""

from __future__ import annotations

import csv
from pathlib import Path

from fedloom.common.errors import SchemaError
from fedloom.common.text import as_text

__all__ = ["named_rows"]


def named_rows(
    path: Path, *, what: str, needs: str, most_bytes: int | None = None
) -> list[dict[str, str | None]]:
    """Returns the rows of a file; a cell that a short row lacks is None.

    Args:
      path: of the file.
      what: it holds, for a message.
      needs: what the file must be, for a message.
      most_bytes: that it may have; None for no bound.

    Raises:
      SchemaError: the file cannot be read, or is larger.
    """
    try:
        if most_bytes is not None and path.stat().st_size > most_bytes:
            raise SchemaError(f"{path}: more than {most_bytes >> 20} MiB; keep the codes in use")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return [
                {as_text(name): text for name, text in row.items()}
                for row in csv.DictReader(stream)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SchemaError(f"{path}: {what} cannot be read ({error}); give {needs}") from error
