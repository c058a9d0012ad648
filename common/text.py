"""One normal form of text: where texts are compared, they are compared in it.

"ö" can be written as one character or as an "o" and two dots, and looks the same; files of
different systems differ in this alone. Names of columns, categories, ids of persons and what a
schema, a study and a command line say of them are therefore brought into Unicode's normal form C
where they are read.
"""

from __future__ import annotations

import unicodedata
from typing import TypeVar

__all__ = ["as_text", "normal"]

Value = TypeVar("Value")


def normal(text: str) -> str:
    r"""Returns a text in Unicode's normal form C.

    >>> normal("Gro\u0308\u00dfe") == "Gr\u00f6\u00dfe"
    True
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def as_text(value: Value) -> Value | str:
    """Returns a text in normal form; whatever is no text stays as it is, for checks that follow."""
    return normal(value) if isinstance(value, str) else value
