"""Text of others inside our Markdown: it shows as it is and cannot open anything."""

from __future__ import annotations

import re

__all__ = ["code_span", "one_line", "plain_text"]

_SPECIAL = re.compile(r"[\\`*_#\[\]|~$]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A line that starts so would be a list, a rule, or make a heading of the line above.
_OPENING = re.compile(r"(?P<number>[0-9]*)(?P<mark>[-+=.)])")


def one_line(text: str) -> str:
    """Replaces line breaks and other space by one space, and what has no shape by U+FFFD."""
    spaced = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in spaced)


def plain_text(text: str) -> str:
    r"""Returns Markdown that shows the text literally, on one line.

    >>> plain_text("a <!-- # b")
    'a &lt;!-- \\# b'
    """
    line = re.sub("[&<>]", lambda found: _ENTITIES[found[0]], one_line(text))
    line = _SPECIAL.sub(r"\\\g<0>", line)
    return _OPENING.sub(r"\g<number>\\\g<mark>", line, count=1) if _OPENING.match(line) else line


def code_span(text: str) -> str:
    """Returns a code span that shows the text, whatever backticks it holds.

    >>> code_span("some_name")
    '`some_name`'
    """
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    if not line or line.startswith("`") or line.endswith("`"):
        line = f" {line} " if line else " "
    return f"{fence}{line}{fence}"
