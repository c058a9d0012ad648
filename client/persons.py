"""Which rows stand for a person: at most so many, by a keyed random choice.

A plan for unit `person` bounds what one person adds to any sum by the number of rows that person
may have. Persons with more rows keep those whose keyed hashes are smallest. The hash covers the
person, what the row says and which of equal rows it is: so the choice is uniform over a person's
rows, the table's order has no part in it, and what is kept of one person is a function of that
person's own rows and the key. Adding or removing a person therefore changes nothing that is kept
of others, which is what the sensitivity of every later sum rests on.

Not covered: one person under two ids is two persons to every guarantee; ids must be as the
institution means them. A row without an id could be anyone's, and is left out.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedloom.common.cells import cell_text, plain_cells

__all__ = ["kept_rows", "person_ids"]

Ids = npt.NDArray[np.object_]
Parts = Sequence[npt.NDArray[Any]]


def person_ids(column: pd.Series) -> Ids:
    """Returns the id of each row as text, None where there is none; shape (N,).

    Numbers of any type have their exact value as text, text is taken without its outer white
    space; "7" and "007" are two persons. White space alone is no id, whatever texts the source
    takes for a missing value: rows without an id are not one person's.
    """
    cells = plain_cells(column)
    missing = pd.isna(cells).to_numpy(dtype=bool)
    texts = [
        None if absent else cell_text(cell).strip() or None
        for cell, absent in zip(cells.to_numpy(dtype=object), missing, strict=True)
    ]
    return np.array(texts, dtype=object)


def kept_rows(
    private_ids: Ids, private_parts: Parts, rows_per_person: int, key: bytes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Chooses at most `rows_per_person` rows of each person.

    Args:
      private_ids: (N,) as of `person_ids`; rows without an id are left out.
      private_parts: arrays (N, ...) that together are what each row says, coded.
      rows_per_person: The cap, at least 1; public.
      key: Secret and fresh for every snapshot.

    Returns:
      Positions of the rows that are kept, sorted by person, and the person of each, counted from
      0 without a gap; persons are numbered in the order of their keyed hashes.
    """
    present = np.flatnonzero(pd.notna(private_ids))
    numbers, names = pd.factorize(private_ids[present])
    order_of_names = np.argsort([_hash(key, b"person", str(name)) for name in names])
    rank = np.empty(len(names), dtype=np.int64)
    rank[order_of_names] = np.arange(len(names))
    persons = rank[numbers]
    by_person = np.argsort(persons, kind="stable")
    rows, persons = present[by_person], persons[by_person]
    priorities = _priorities(private_ids[rows], private_parts, rows, key)
    by_priority = np.lexsort((priorities, persons))
    rows, persons = rows[by_priority], persons[by_priority]
    place = np.arange(len(persons)) - np.searchsorted(persons, persons)
    kept = place < rows_per_person
    return rows[kept].astype(np.int64), persons[kept]


def _priorities(
    ids: Ids, parts: Parts, rows: npt.NDArray[np.int64], key: bytes
) -> npt.NDArray[np.uint64]:
    """Hashes rows that are sorted by person; `ids` are theirs, in this order."""
    priorities = np.empty(len(ids), dtype=np.uint64)
    seen: Counter[bytes] = Counter()
    for position, (name, row) in enumerate(zip(ids, rows, strict=True)):
        if position and name != ids[position - 1]:
            seen.clear()
        # One row at a time: of large records no second copy is made.
        said = b"".join(part[row].tobytes() for part in parts)
        priorities[position] = _hash(key, b"row", name, said, seen[said])
        seen[said] += 1
    return priorities


def _hash(key: bytes, use: bytes, name: str, said: bytes = b"", repeat: int = 0) -> np.uint64:
    text = name.encode("utf-8", "surrogatepass")
    message = use + len(text).to_bytes(8, "little") + text + repeat.to_bytes(8, "little") + said
    return np.uint64(int.from_bytes(hmac.digest(key, message, "sha256")[:8], "little"))
