"""Drafts of schemas: what a public document says of a table's columns, and what it leaves open."""

from __future__ import annotations

from fedloom.common.draft.codebook_file import looks_like_codebook, read_codebook
from fedloom.common.draft.draft import Draft, DraftColumn
from fedloom.common.draft.text import draft_text

__all__ = ["Draft", "DraftColumn", "draft_text", "looks_like_codebook", "read_codebook"]
