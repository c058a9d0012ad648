"""Texts that look alike are alike: one normal form of names, categories and ids."""

from __future__ import annotations

import unicodedata
from typing import Any

import pandas as pd
import pytest

from fedloom.client.persons import person_ids
from fedloom.common.cells import category_key, cell_text, read_categories, read_texts
from fedloom.common.discovery import Discovery
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Column, Schema
from fedloom.common.study import parse_study
from fedloom.common.text import as_text, normal
from fedloom.privacy.policy import Policy

NFC, NFD = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))


def schema(name: str, value: str) -> Schema:
    return Schema.from_dict(
        {
            "column": [
                {"name": name, "kind": "category", "values": [value, "ß"], "other": f"{value}?"},
                {"name": "stay", "kind": "integer", "min": 0, "max": 9},
            ],
            "constraint": [
                {"kind": "fixed-combinations", "columns": [name, "stay"], "rows": [[value, 1]]}
            ],
        }
    )


def test_only_texts_are_brought_into_normal_form() -> None:
    assert NFC != NFD and normal(NFD) == NFC == cell_text(NFD) == category_key(NFD)
    assert as_text(None) is None and as_text(3) == 3 and as_text(NFD) == NFC


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_schemas_in_either_form_are_one_schema(form: str) -> None:
    written = schema(*(unicodedata.normalize(form, text) for text in ("Größe", "süß")))
    assert written.digest() == schema("Größe", "süß").digest()
    assert written.names[0] == NFC and written.column(NFD).name == NFC
    assert written.constraints[0].columns == (NFC, "stay")


def test_names_and_categories_that_are_equal_in_normal_form_are_refused() -> None:
    one: dict[str, Any] = {"kind": "integer", "min": 0, "max": 9}
    with pytest.raises(SchemaError, match="described twice"):
        Schema.from_dict({"column": [{"name": NFC, **one}, {"name": NFD, **one}]})
    with pytest.raises(SchemaError, match="twice"):
        Column("c", "category", values=(NFC, NFD))
    with pytest.raises(SchemaError, match="also one of values"):
        Column("c", "category", values=(NFC, "x"), other=NFD)


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_cells_in_either_form_are_one_category(dtype: str) -> None:
    raw = pd.Series([NFC, NFD, f" {NFD}"], dtype=dtype)
    assert not read_categories(Column("c", "category", values=(NFD, "x")), raw).values.any()
    assert set(read_texts(raw)[0]) == {NFC}
    assert set(person_ids(raw)) == {NFC}


def test_a_learned_category_is_spelled_in_one_form() -> None:
    discovery = Discovery(Schema((Column("c", "category", open=True),)))
    codes = discovery.encode(pd.DataFrame({"c": [NFC, NFD]})).codes
    assert (codes[0] == codes[1]).all()


def test_studies_and_policies_name_columns_in_either_form() -> None:
    described = schema("Größe", "süß")
    raw = {
        "study": {"name": NFD, "schema": "s.toml", "target": NFD},
        "privacy": {
            "epsilon": 1.0,
            "delta": 1e-5,
            "unit": "person",
            "id": unicodedata.normalize("NFD", "Schlüssel"),
            "rows_per_person": 1,
        },
        "model": {"kind": "mixture"},
        "site": [{"name": "north"}],
    }
    study = parse_study(raw, described)
    assert (study.name, study.target, study.privacy.id) == (NFC, NFC, "Schlüssel")
    raw["privacy"]["id"] = NFD  # type: ignore[index]
    with pytest.raises(Exception, match="is a column of the schema"):
        parse_study(raw, described)
    policy = Policy(epsilon=1.0, delta=1e-5, columns=(NFD,), id=NFD)
    assert (policy.columns, policy.id) == ((NFC,), NFC)
