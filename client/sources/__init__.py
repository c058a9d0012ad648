"""Record sources: where a site's records are and how they become a table."""

from __future__ import annotations

from fedloom.client.sources.config import DEFAULT_MISSING, SourceConfig
from fedloom.client.sources.table import load_table

__all__ = ["DEFAULT_MISSING", "SourceConfig", "load_table"]
