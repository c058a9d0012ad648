"""Plain values from TOML and JSON, read into typed values by msgspec.

A section is a frozen `msgspec.Struct`: its fields are the keys, their types and `Meta` the kinds
and ranges, their defaults what may be left out. An error names the file, the section, the key,
what must be there and what came.

    class Release(Section):
        rows: Annotated[int, Meta(ge=1)] | None = None
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from fedloom.common.errors import ConfigError, FedloomError

__all__ = ["Line", "PublicKey", "Section", "Sha256", "plain", "read_typed"]

T = TypeVar("T")

_MAX_LINE = 200

PublicKey = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}\Z",
        extra={"what": "a public key of 64 hexadecimal digits, as `keygen` prints it"},
    ),
]
Sha256 = Annotated[
    str, Meta(pattern=r"^[0-9a-f]{64}\Z", extra={"what": "a SHA-256 of 64 hexadecimal digits"})
]
Line = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=_MAX_LINE,
        # No control, format, surrogate or separator characters but the space.
        pattern=r"^(?=.*\S)[^\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*\Z",
        extra={"what": f"one printable line of at most {_MAX_LINE} characters"},
    ),
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of a file: immutable, keys by name, unknown keys refused."""


def plain(value: object) -> Any:
    """Returns a typed value as JSON-able plain values; `read_typed` reads them back."""
    return msgspec.to_builtins(value)


def read_typed(
    value: object,
    kind: type[T],
    *,
    where: str,
    error: type[FedloomError] = ConfigError,
) -> T:
    """Reads plain values into a typed value.

    Args:
      value: dicts, lists, texts, numbers, booleans and None, as TOML and JSON give them.
      kind: a `Section` or any other type that msgspec knows.
      where: the file and section, such as "study.toml: [privacy]".
      error: raised for a value that does not fit.

    Raises:
      ConfigError: (or `error`) names key, what must be there, and what came.

    >>> class Size(Section):
    ...     rows: Annotated[int, Meta(ge=1)]
    >>> read_typed({"rows": 3}, Size, where="[release]").rows
    3
    >>> read_typed({"row": 3}, Size, where="[release]")
    Traceback (most recent call last):
    ...
    fedloom.common.errors.ConfigError: [release] has the unknown key 'row'; did you mean 'rows'?
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as found:
        raise error(_message(str(found), value, kind, where)) from None


_PATH = re.compile(r" - at `(?:key in )?\$(.*)`\Z")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_MISSING = re.compile(r"Object missing required field `(.*)`")


def _message(text: str, value: object, kind: Any, where: str) -> str:
    """Turns msgspec's sentence about a place into ours: subject, what must be, what came."""
    path = _PATH.search(text)
    said = text[: path.start()] if path else text
    steps = [name or number for name, number in _STEP.findall(path[1])] if path else []
    place = _place(where, steps)
    whole = where.endswith(":") and not steps
    if unknown := _UNKNOWN.match(said):
        known = _keys(_type_at(kind, steps))
        close = difflib.get_close_matches(unknown[1], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        section = whole and isinstance(_at(value, [unknown[1]]), dict)
        what = f"section [{unknown[1]}]" if section else f"key {unknown[1]!r}"
        return f"{place} has the unknown {what}; {hint}"
    if missing := _MISSING.match(said):
        wanted = _type_at(kind, [*steps, missing[1]])
        if whole and isinstance(wanted, msgspec.inspect.StructType | msgspec.inspect.DictType):
            return f"{place} needs a section [{missing[1]}]"
        return f"{place} needs {missing[1]}{_what(wanted)}"
    wanted = _what(_type_at(kind, steps)).removeprefix(", ") or _in_words(said)
    return f"{place} = {_shown(_at(value, steps))} must be {wanted}"


def _place(where: str, steps: list[str]) -> str:
    """Names a place: the sections of a whole file stand in brackets, items count from 1."""
    words = [str(int(step) + 1) if step.isdigit() else step for step in steps]
    if where.endswith(":") and words:
        words[0] = f"[{words[0]}]"
    return " ".join([where, *words])


_WORDS = (
    (re.compile(r"Expected `int` >= (.*)"), r"a whole number of \1 or more"),
    (re.compile(r"Expected `int` <= (.*)"), r"a whole number of at most \1"),
    (re.compile(r"Expected `float` >= (.*)"), r"a number of \1 or more"),
    (re.compile(r"Expected `float` <= (.*)"), r"a number of at most \1"),
    (re.compile(r"Expected `float` > (.*)"), r"a number above \1"),
    (re.compile(r"Expected `float` < (.*)"), r"a number below \1"),
    (re.compile(r"Expected `int(?: \| null)?`, got.*"), "a whole number"),
    (re.compile(r"Expected `float(?: \| null)?`, got.*"), "a number"),
    (re.compile(r"Expected `str(?: \| null)?`, got.*"), "a text"),
    (re.compile(r"Expected `bool(?: \| null)?`, got.*"), "true or false"),
    (re.compile(r"Expected `array(?: \| null)?`, got.*"), "a list"),
    (re.compile(r"Expected `object(?: \| null)?`, got.*"), "a table"),
    (re.compile(r"Expected `array` of length >= (.*)"), r"a list of \1 or more"),
)


def _in_words(said: str) -> str:
    for pattern, words in _WORDS:
        if pattern.fullmatch(said):
            return pattern.sub(words, said)
    return said[:1].lower() + said[1:]


def _at(value: Any, steps: list[str]) -> Any:
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list | tuple) and step.isdigit():
            value = value[int(step)]
    return value


def _type_at(kind: Any, steps: list[str]) -> Any:
    """Returns msgspec's description of the type at a path, or None where it branches."""
    found: Any = msgspec.inspect.type_info(kind)
    for step in steps:
        if isinstance(found, msgspec.inspect.Metadata):
            found = found.type
        if isinstance(found, msgspec.inspect.UnionType):
            found = next((t for t in found.types if hasattr(t, "fields")), None)
        if isinstance(found, msgspec.inspect.StructType):
            names = {field.encode_name: field.type for field in found.fields}
            found = names.get(step)
        elif hasattr(found, "item_type"):
            found = found.item_type
        else:
            return None
    return found


def _keys(found: Any) -> list[str]:
    if isinstance(found, msgspec.inspect.Metadata):
        found = found.type
    return sorted(field.encode_name for field in getattr(found, "fields", ()))


def _what(found: Any) -> str:
    """Says what must be there, as the type or the words of a closed set tell it."""
    kinds = found.types if isinstance(found, msgspec.inspect.UnionType) else (found,)
    for kind in kinds:
        extra = getattr(kind, "extra", None) or {}
        if "what" in extra:
            return f", {extra['what']}"
        if isinstance(kind, msgspec.inspect.EnumType):
            return ", " + _one_of([member.value for member in kind.cls])
        if isinstance(kind, msgspec.inspect.LiteralType):
            return ", " + _one_of([str(value) for value in kind.values])
    return ""


def _one_of(words: list[str]) -> str:
    return f"one of {', '.join(words)}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
