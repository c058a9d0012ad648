"""Texts of a release from their templates, and text of others inside our Markdown.

Every text for people is a Jinja template in `templates/`; what a template is given are values of
plan, statement and manifest. In HTML everything is escaped; in Markdown the filters `plain` and
`code` show what others wrote as it is, so that it cannot open anything.
"""

from __future__ import annotations

import re
import textwrap
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

__all__ = ["TEMPLATES", "code_span", "one_line", "plain_text", "render"]

TEMPLATES = Path(__file__).parent / "templates"
_WIDTH = 98
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


def render(template: str, **values: Any) -> str:
    """Returns a text of a release.

    Args:
      template: a file in `templates/`, without its ending `.j2`; `.html` escapes what it shows.
      values: all that the template names; one that it does not find is an error.
    """
    return _environment().get_template(f"{template}.j2").render(**values)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(plain=plain_text, code=code_span, wrap=_wrapped)
    return environment


def _wrapped(text: str) -> str:
    return textwrap.fill(text.strip(), width=_WIDTH)
