"""Where records are, and how they are written: a file, or a query to a database.

In `site.toml`:

    [source]
    path = "records.csv"            # .csv, .tsv, .txt (also .gz), .xlsx, .parquet
    separator = ";"                 # further options: see `fedloom.client.sources.options`
    decimal = ","
    date_format = "%d.%m.%Y"

or

    [source]
    url = "postgresql+pg8000://reader@db.example.org/clinic"
    query = "SELECT age, sex FROM admissions"
    password_env = "CLINIC_PASSWORD"  # optional: environment variable that holds the password

A path is relative to the folder of `site.toml`. In Python the same is a `Source`, which stands
wherever a path does: `Source(path="records.csv", separator=";", decimal=",")`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fedloom.client.sources.formats import format_of
from fedloom.client.sources.options import (
    DEFAULT_MISSING,
    EVERY_COLUMN,
    OPTIONS,
    checked,
    toml_pairs,
)
from fedloom.common.errors import DataError

__all__ = ["Source"]

_PLACES = ("path", "url", "query", "password_env")

Formats = str | Sequence[str] | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a site's records are, and how they are written.

    Attributes:
      path: A file; or None.
      url: SQLAlchemy URL of a database; or None.
      query: A SELECT whose result has the schema's columns.
      password_env: Environment variable with the database's password, or None.
      separator: The mark between cells; None is the usual one of the file's ending.
      quote: The mark around cells, "" for none; None is `"`.
      encoding: Of a text file; None is UTF-8, or what the file's mark says.
      header: The number of the line that names the columns, or their names where no line does.
      sheet: Of an Excel file; None is the only one.
      decimal: The decimal mark; None is the point.
      thousands: The mark between groups of three digits, or None.
      date_format: By column, or for `"*"`, the formats in which times are written; None is ISO.
      time_zone: Of the clock that times without an offset were read from, or None.
      missing: Texts that stand for a missing value, unless the schema lists them as categories.
    """

    path: Path | str | None = None
    url: str | None = None
    query: str | None = None
    password_env: str | None = None
    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: int | Sequence[str] | None = None
    sheet: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    date_format: Formats | None = None
    time_zone: str | None = None
    missing: Sequence[str] = DEFAULT_MISSING

    def __post_init__(self) -> None:
        """Refuses a source that is neither a file nor a query, and options that cannot be."""
        if (self.path is None) == (self.url is None):
            raise DataError("a source needs either path, or url and query; give one of the two")
        if (self.url is None) != (self.query is None):
            raise DataError("a database source needs both url and query; add the missing one")
        if self.path is not None:
            object.__setattr__(self, "path", Path(self.path))
        for name, option in OPTIONS.items():
            value = getattr(self, name)
            if value is None:
                continue
            object.__setattr__(self, name, checked(name, value))
            if name != "missing" and self.kind is not None and self.kind not in option.kinds:
                raise DataError(
                    f"{self.where}: {name} is for {' and '.join(option.kinds)} sources, and this "
                    f"is one of kind {self.kind}; leave it out"
                )
        if self.thousands is not None and self.thousands == self.decimal_mark:
            raise DataError(
                f"[source]: thousands and decimal are both {self.thousands!r}; one number would "
                "be two; correct one of them"
            )
        if self.separator is not None and self.separator == self.quote:
            raise DataError("[source]: separator and quote are the same mark; correct one of them")

    @property
    def file(self) -> Path:
        """The file; of a source that is one."""
        assert self.path is not None
        return Path(self.path)

    @property
    def where(self) -> str:
        """What messages call the source."""
        return str(self.path if self.path is not None else self.url)

    @property
    def kind(self) -> str | None:
        """What kind of source it is: database, or of which format a file is by its ending."""
        if self.path is None:
            return "database"
        found = format_of(self.file.name)
        return None if found is None else found.name

    @property
    def decimal_mark(self) -> str:
        """The decimal mark; a point as mark of thousands leaves the comma."""
        return self.decimal or ("," if self.thousands == "." else ".")

    @property
    def says_numbers(self) -> bool:
        """Whether the source says how its numbers are written."""
        return self.decimal is not None or self.thousands is not None

    def formats_of(self, column: str) -> tuple[str, ...]:
        """Returns the formats of a column of times; none where it is written in ISO 8601."""
        assert self.date_format is None or isinstance(self.date_format, dict)
        by_column: dict[str, tuple[str, ...]] = self.date_format or {}
        return by_column.get(column, by_column.get(EVERY_COLUMN, ()))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: Path) -> Source:
        """Reads `[source]` of a file that lies in `folder`.

        Raises:
          DataError: a key is unknown or has the wrong type.
        """
        known = [entry.name for entry in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise DataError(f"[source]: unknown key '{unknown[0]}'; known: {', '.join(known)}")
        values = dict(data)
        for key in _PLACES:
            if key in values and not isinstance(values[key], str):
                raise DataError(f"[source]: {key} must be a string, got {values[key]!r}")
        if "path" in values:
            values["path"] = folder / Path(values["path"]).expanduser()
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Source:
        """Reads the `[source]` of a TOML file, such as a `site.toml`; the rest is passed over.

        Raises:
          DataError: the file cannot be read, or describes no source.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{path}: not a TOML file: {error}") from None
        if not isinstance(data.get("source"), dict):
            raise DataError(f"{path}: needs a section [source], which says where the records are")
        try:
            return cls.from_dict(data["source"], path.parent)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def to_toml(self) -> str:
        """Returns the lines of `[source]`; a path is written in full."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        if self.path is not None:
            values["path"] = str(self.file.resolve())
        if self.missing == DEFAULT_MISSING:
            del values["missing"]
        if isinstance(self.date_format, dict) and set(self.date_format) == {EVERY_COLUMN}:
            values["date_format"] = self.date_format[EVERY_COLUMN]
        return "\n".join(toml_pairs({k: v for k, v in values.items() if v is not None}))
