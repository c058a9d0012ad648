"""Record sources: where a site's records are and how they become a table."""

from __future__ import annotations

from fedloom.client.sources.config import Source
from fedloom.client.sources.options import DEFAULT_MISSING
from fedloom.client.sources.table import Table, load_table, load_whole

__all__ = ["DEFAULT_MISSING", "Source", "Table", "load_table", "load_whole"]
