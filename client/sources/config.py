"""Where records are: a file, or a query to a database.

In `site.toml`:

    [source]
    path = "records.csv"            # .csv, .tsv (also .gz), .parquet; relative to site.toml
    missing = ["", "?"]             # optional: texts that stand for a missing value

or

    [source]
    url = "postgresql+pg8000://reader@db.example.org/clinic"
    query = "SELECT age, sex FROM admissions"
    password_env = "CLINIC_PASSWORD"  # optional: environment variable that holds the password
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedloom.common.errors import DataError

__all__ = ["DEFAULT_MISSING", "SourceConfig"]

DEFAULT_MISSING = ("", "?", "NA", "NaN", "nan", "NULL", "null")
_KEYS = {"path", "url", "query", "password_env", "missing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where a site's records are.

    Attributes:
      path: A file; or None.
      url: SQLAlchemy URL of a database; or None.
      query: A SELECT whose result has the schema's columns.
      password_env: Environment variable with the database's password, or None.
      missing: Texts that stand for a missing value, unless the schema lists them as categories.
    """

    path: Path | None = None
    url: str | None = None
    query: str | None = None
    password_env: str | None = None
    missing: tuple[str, ...] = DEFAULT_MISSING

    def __post_init__(self) -> None:
        """Refuses a source that is neither a file nor a query."""
        if (self.path is None) == (self.url is None):
            raise DataError("a source needs either path, or url and query; give one of the two")
        if (self.url is None) != (self.query is None):
            raise DataError("a database source needs both url and query; add the missing one")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: Path) -> SourceConfig:
        """Reads `[source]` of a `site.toml` that lies in `folder`.

        Raises:
          DataError: a key is unknown or has the wrong type.
        """
        unknown = sorted(set(data) - _KEYS)
        if unknown:
            raise DataError(
                f"[source]: unknown key '{unknown[0]}'; known: {', '.join(sorted(_KEYS))}"
            )
        fields = dict(data)
        missing = fields.pop("missing", list(DEFAULT_MISSING))
        if not isinstance(missing, list) or not all(isinstance(text, str) for text in missing):
            raise DataError('[source]: missing must be a list of strings, such as ["", "?"]')
        for key, value in fields.items():
            if not isinstance(value, str):
                raise DataError(f"[source]: {key} must be a string, got {value!r}")
        if "path" in fields:
            fields["path"] = folder / Path(fields["path"]).expanduser()
        return cls(missing=tuple(missing), **fields)
