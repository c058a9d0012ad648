"""The codebook says everything that the schema says, and nothing else."""

from __future__ import annotations

from fedloom.common.digest import canonical_json
from fedloom.common.encoding import Encoding
from fedloom.privacy.release.codebook import codebook, codebook_text


def test_every_column_with_kind_bounds_specials_missing_and_bins(toy_schema):
    book = {entry["name"]: entry for entry in codebook(Encoding(toy_schema, "label"))["columns"]}
    assert tuple(book) == toy_schema.names
    assert book["visits"]["special"] == [0] and book["visits"]["max"] == 20
    assert book["health"]["missing"] and book["health"]["bins"] == 5
    assert book["town"]["values"] == ["north", "south"] and book["town"]["other"] == "elsewhere"
    assert book["seen"]["min"] == "2020-01-01"
    canonical_json(book)


def test_text_names_each_column_and_the_label(toy_schema):
    text = codebook_text(Encoding(toy_schema, "label"))
    for name in toy_schema.names:
        assert f"## {name}" in text
    assert "## label (the label)" in text and "any other value stands as `elsewhere`" in text
