"""How a file writes its cells: the one table of options, for `site.toml`, command line and Python.

Nothing here is guessed from a file. What is left out has the default that is said below; where a
file looks otherwise, reading it is an error that names the option to add (`remedy`).

| option | in `site.toml` | of |
|---|---|---|
| `separator` | `";"`, `"tab"`; by default `,`, in .tsv files the tab | text |
| `quote` | `"'"`, or `""` where quotes mean nothing; by default `"` | text |
| `encoding` | `"latin-1"`, `"cp1252"`, ...; by default UTF-8, or what the file's mark says | text |
| `header` | `3`, the line with the names; or the names, where no line has them | text, Excel |
| `sheet` | `"Patients"`; by default the only one | Excel |
| `decimal` | `","`; by default the point | all |
| `thousands` | `"."`, `","`, `"'"`, `" "`; by default none | all |
| `date_format` | `"%d.%m.%Y"`, a list, or a table by column; by default ISO 8601 | all |
| `time_zone` | `"Europe/Berlin"`, of the clock that times without an offset were read from | all |
| `missing` | `["", "?"]`, texts that stand for a missing value | all |
"""

from __future__ import annotations

import codecs
import datetime as dt
import json
import shlex
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedloom.common.errors import DataError
from fedloom.common.text import normal

__all__ = [
    "DEFAULT_MISSING",
    "EVERY_COLUMN",
    "OPTIONS",
    "Option",
    "checked",
    "remedy",
    "toml_pairs",
]

DEFAULT_MISSING = ("", "?", "NA", "NaN", "nan", "NULL", "null")
EVERY_COLUMN = "*"
_ALL = ("text", "excel", "parquet", "database")
_THOUSANDS = (".", ",", " ", "'", "_")
_MOMENT = dt.datetime(2001, 11, 22, 13, 45, 56, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a source.

    Attributes:
      name: in `site.toml` and Python; the command line has `--name`, with dashes.
      kinds: of sources that it is for: text, excel, parquet, database.
      check: brings a value as TOML or Python gives it into its one form, or raises `ValueError`
        with what it must be.
      from_words: makes of the words of a command line what TOML would give.
      help: for the command line.
      metavar: what the command line shows for the value.
      repeated: whether the command line takes it several times.
    """

    name: str
    kinds: tuple[str, ...]
    check: Callable[[Any], Any]
    help: str
    metavar: str
    repeated: bool = False
    from_words: Callable[[tuple[str, ...]], Any] = lambda words: words[-1]

    @property
    def flag(self) -> str:
        """The option of the command line."""
        return "--" + self.name.replace("_", "-")


def remedy(**options: Any) -> str:
    r"""Says how options are given, in `site.toml` and on the command line.

    >>> remedy(separator=";")
    'add separator = ";" to [source] in site.toml, or --separator \';\' on the command line'
    """
    written = " and ".join(toml_pairs(options))
    words = []
    for name, value in options.items():
        for part in value if isinstance(value, list | tuple) else [value]:
            words.append(f"{OPTIONS[name].flag} {shlex.quote(str(part))}")
    return f"add {written} to [source] in site.toml, or {' '.join(words)} on the command line"


def toml_pairs(options: Mapping[str, Any]) -> list[str]:
    """Returns options as lines of a TOML file."""
    return [f"{name} = {_toml(value)}" for name, value in options.items()]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml(key)} = {_toml(part)}" for key, part in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # JSON's strings are TOML's, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _separator(value: Any) -> str:
    mark = {"tab": "\t", "\\t": "\t"}.get(value, value) if isinstance(value, str) else value
    if not isinstance(mark, str) or len(mark) != 1 or mark.isalnum() or mark in "\"'\r\n.\\":
        raise ValueError('one mark between cells, such as ";" or "tab"')
    return mark


def _quote(value: Any) -> str:
    if value not in ('"', "'", ""):
        raise ValueError('"\'", \'"\', or "" where quotes mean nothing')
    return str(value)


def _encoding(value: Any) -> str:
    try:
        "a".encode(value)  # refuses what encodes no text, such as base64
        return codecs.lookup(value).name
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            'the name of an encoding, such as "utf-8", "latin-1" or "cp1252"'
        ) from None


def _header(value: Any) -> int | tuple[str, ...]:
    if type(value) is int and value >= 1:
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) for name in value):
        names = tuple(normal(name).strip() for name in value)
        if len(set(names)) == len(names):
            return names
    raise ValueError(
        "the number of the line that names the columns, counted from 1, or a list of all columns' "
        "names, each once, where no line names them"
    )


def _sheet(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the name of a sheet")
    return value


def _decimal(value: Any) -> str:
    if value not in (".", ","):
        raise ValueError('"." or ","')
    return str(value)


def _thousands(value: Any) -> str:
    if value not in _THOUSANDS:
        raise ValueError(f"one of {', '.join(map(_toml, _THOUSANDS))}")
    return str(value)


def _date_format(value: Any) -> dict[str, tuple[str, ...]]:
    """Returns the formats by column; those of `EVERY_COLUMN` are for all others."""
    by_column = value if isinstance(value, Mapping) else {EVERY_COLUMN: value}
    found = {}
    for column, formats in by_column.items():
        each = (formats,) if isinstance(formats, str) else formats
        if not isinstance(each, list | tuple) or not each:
            raise ValueError('a format such as "%d.%m.%Y", a list of them, or a table by column')
        found[normal(column)] = tuple(map(_one_format, each))
    return found


def _one_format(text: Any) -> str:
    if text == "excel":
        return "excel"
    try:
        read = dt.datetime.strptime(_MOMENT.strftime(text), text)
    except (ValueError, TypeError):
        read = None
    if read is None or read.year != _MOMENT.year:
        raise ValueError(
            'formats with the year in them, such as "%d.%m.%Y" or "%Y%m%d%H%M%S", or "excel" for '
            "Excel's day numbers"
        )
    return str(text)


def _time_zone(value: Any) -> str:
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ValueError('the name of a time zone, such as "Europe/Berlin"') from None
    return str(value)


def _missing(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise ValueError('a list of strings, such as ["", "?"]')
    return tuple(map(normal, value))


def _header_words(words: tuple[str, ...]) -> Any:
    return int(words[0]) if len(words) == 1 and words[0].isdecimal() else list(words)


def _format_words(words: tuple[str, ...]) -> Any:
    """Takes FORMAT, or COLUMN=FORMAT; no format holds an equals sign."""
    by_column: dict[str, list[str]] = {}
    for word in words:
        column, _, text = word.rpartition("=")
        by_column.setdefault(column or EVERY_COLUMN, []).append(text)
    return by_column


def _table(options: Iterable[Option]) -> dict[str, Option]:
    return {option.name: option for option in options}


OPTIONS = _table(
    (
        Option(
            name="separator",
            kinds=("text",),
            check=_separator,
            help="The mark between cells: ';', tab, ...; by default a comma, in .tsv files a tab.",
            metavar="MARK",
        ),
        Option(
            name="quote",
            kinds=("text",),
            check=_quote,
            help="The mark around cells, or '' for none; by default \".",
            metavar="MARK",
        ),
        Option(
            name="encoding",
            kinds=("text",),
            check=_encoding,
            help="Of a text file: latin-1, cp1252, ...; by default UTF-8.",
            metavar="NAME",
        ),
        Option(
            name="header",
            kinds=("text", "excel"),
            check=_header,
            help="The number of the line that names the columns; or, where none does, a column's "
            "name, once for each column.",
            metavar="LINE|COLUMN",
            repeated=True,
            from_words=_header_words,
        ),
        Option(
            name="sheet",
            kinds=("excel",),
            check=_sheet,
            help="The sheet of an Excel file.",
            metavar="NAME",
        ),
        Option(
            name="decimal",
            kinds=_ALL,
            check=_decimal,
            help="The decimal mark, a point or a comma.",
            metavar="MARK",
        ),
        Option(
            name="thousands",
            kinds=_ALL,
            check=_thousands,
            help="The mark between groups of three digits; by default none.",
            metavar="MARK",
        ),
        Option(
            name="date_format",
            kinds=_ALL,
            check=_date_format,
            help="How dates are written, such as %d.%m.%Y; for one column COLUMN=FORMAT; repeat.",
            metavar="[COLUMN=]FORMAT",
            repeated=True,
            from_words=_format_words,
        ),
        Option(
            name="time_zone",
            kinds=_ALL,
            check=_time_zone,
            help="Of times without an offset, such as Europe/Berlin; other times are read in it.",
            metavar="ZONE",
        ),
        Option(
            name="missing",
            kinds=_ALL,
            check=_missing,
            help="A text that stands for a missing value; repeat.",
            metavar="TEXT",
            repeated=True,
            from_words=list,
        ),
    )
)


def checked(name: str, value: Any) -> Any:
    """Returns an option's value in its one form.

    Raises:
      DataError: it cannot be that.
    """
    try:
        return OPTIONS[name].check(value)
    except ValueError as error:
        raise DataError(f"[source]: {name} must be {error}; got {value!r}") from None
