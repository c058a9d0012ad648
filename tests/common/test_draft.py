"""What public codebooks say becomes a schema; what they do not say stays open or blank."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from fedloom.common.blanks import BLANK
from fedloom.common.draft import draft_text, looks_like_codebook, read_codebook
from fedloom.common.draft.draft import DOCUMENT, PUBLIC
from fedloom.common.encoding import Encoding
from fedloom.common.errors import SchemaError
from fedloom.common.schema import Schema
from fedloom.privacy.release.codebook import codebook

REDCAP = """\
"Variable / Field Name","Form Name","Field Type","Field Label",\
"Choices, Calculations, OR Slider Labels","Text Validation Type OR Show Slider Number",\
"Text Validation Min","Text Validation Max",Identifier?,\
"Branching Logic (Show field only if...)","Required Field?"
record_id,demo,text,"Study ID",,,,,,,
dob,demo,text,"Date of birth",,date_ymd,1900-01-01,today,y,,
age,demo,text,"Age",,integer,18,110,,,y
sex,demo,radio,"<b>Sex</b> at birth","1, Female | 2, Male | 3, Other, or unknown",,,,,,y
seen,demo,text,"Last seen",,date_mdy,2020-01-01,today,,,y
bmi,demo,calc,"BMI","[weight]/[height]^2",,,,,,
symptom,demo,checkbox,"Symptoms","1, Cough | -2, Fever",,,,,,
smoker,demo,yesno,"Smoker?",,,,,,"[age] > 15",y
comment,demo,notes,"Comments",,,,,,,
"""
TABLE_SCHEMA = {
    "fields": [
        {
            "name": "age",
            "type": "integer",
            "title": "Age",
            "unit": "years",
            "constraints": {"required": True, "minimum": 0, "maximum": 120},
        },
        {"name": "weight", "type": "number"},
        {"name": "sex", "type": "string", "constraints": {"enum": ["f", "m"], "required": False}},
        {"name": "grade", "type": "integer", "categories": [{"value": 1, "label": "low"}, 2]},
        {"name": "day", "type": "date", "constraints": {"minimum": "2020-01-01"}},
        {"name": "ill", "type": "boolean"},
        {"name": "place", "type": "geopoint"},
    ]
}
CSVW = {
    "@context": "http://www.w3.org/ns/csvw",
    "url": "people.csv",
    "tableSchema": {
        "columns": [
            {
                "name": "age_in_years",
                "titles": {"en": "age"},
                "required": True,
                "datatype": {"base": "integer", "minimum": "0", "maxInclusive": 120},
                "dc:description": {"en": "Age at visit"},
            },
            {"name": "ill", "datatype": {"base": "boolean", "format": "yes|no"}},
            {"name": "sex", "datatype": {"base": "string", "format": "(f|m)"}},
            {"name": "at", "datatype": "dateTime"},
            {"name": "link", "datatype": "anyURI"},
        ]
    },
}
JSON_SCHEMA = {
    "type": "array",
    "items": {
        "properties": {
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "sex": {"enum": ["f", "m", None]},
            "day": {"type": ["string", "null"], "format": "date"},
        },
        "required": ["age"],
    },
}


def drafted(path: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Reads a codebook, writes its schema, and returns the tables of that by name."""
    draft = read_codebook(path, **options)
    text = draft_text(draft, name=path.name, blanks=False)
    plain = tomllib.loads(text)
    Schema.from_dict(plain)
    return {entry["name"]: entry for entry in plain["column"]}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_redcap_is_read_as_redcap_exports_it(tmp_path: Path) -> None:
    path = write(tmp_path / "dictionary.csv", REDCAP)
    columns = drafted(path)
    assert columns["age"] == {
        "name": "age",
        "kind": "integer",
        "min": 18,
        "max": 110,
        "description": "Age",
    }
    assert columns["sex"]["values"] == ["1", "2", "3"]
    meanings = "Sex at birth: 1 = Female; 2 = Male; 3 = Other, or unknown"
    assert columns["sex"]["description"] == meanings
    assert columns["bmi"]["bounds"] == columns["seen"]["bounds"] == "private"
    assert columns["smoker"]["nullable"] is True, "asked under a condition alone"
    assert {"symptom___1", "symptom____2"} < set(columns)
    assert set(read_codebook(path).left_out) == {"record_id", "dob", "comment"}


def test_redcaps_new_headings_mean_the_same(tmp_path: Path) -> None:
    from fedloom.common.draft.redcap import _OLD

    renamed = REDCAP
    for new, old in _OLD.items():
        renamed = renamed.replace(f'"{old}"', new).replace(old, new)
    old = drafted(write(tmp_path / "old.csv", REDCAP))
    assert drafted(write(tmp_path / "new.csv", renamed)) == old


def test_a_frictionless_table_schema_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "tableschema.json", TABLE_SCHEMA)
    columns = drafted(path)
    assert columns["age"] == {
        "name": "age",
        "kind": "integer",
        "min": 0,
        "max": 120,
        "description": "Age (years)",
    }
    assert columns["sex"]["values"] == ["f", "m"] and columns["sex"]["nullable"] is True
    assert columns["grade"]["values"] == ["1", "2"]
    assert columns["weight"]["bounds"] == columns["day"]["bounds"] == "private"
    assert columns["ill"]["values"] == ["false", "true"]
    assert set(read_codebook(path).left_out) == {"place"}


def test_of_a_package_one_table_is_chosen(tmp_path: Path) -> None:
    resources = [
        {"name": "people", "schema": TABLE_SCHEMA},
        {"name": "visits", "schema": {"fields": [{"name": "day", "type": "date"}]}},
    ]
    path = write(tmp_path / "datapackage.json", {"resources": resources})
    assert set(drafted(path, table="visits")) == {"day"}
    with pytest.raises(SchemaError, match="people, visits.*--table"):
        read_codebook(path)
    alone = write(tmp_path / "one.json", {"resources": resources[1:]})
    assert set(drafted(alone)) == {"day"}


def test_csv_on_the_web_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "people.csv-metadata.json", CSVW)
    columns = drafted(path)
    assert (columns["age"]["min"], columns["age"]["max"]) == (0, 120)
    assert columns["age"]["description"] == "Age at visit"
    assert columns["ill"]["values"] == ["no", "yes"]
    assert columns["sex"]["values"] == ["f", "m"]
    assert columns["at"]["kind"] == "datetime"
    assert set(read_codebook(path).left_out) == {"link"}


def test_json_schema_is_read(tmp_path: Path) -> None:
    columns = drafted(write(tmp_path / "schema.json", JSON_SCHEMA))
    assert (columns["age"]["min"], columns["age"]["max"]) == (0, 120)
    assert columns["sex"]["values"] == ["f", "m"]
    assert columns["day"]["kind"] == "datetime" and columns["day"]["nullable"] is True


def test_a_releases_codebook_gives_its_schema_back(tmp_path: Path, toy_schema: Schema) -> None:
    path = write(tmp_path / "codebook.json", codebook(Encoding(toy_schema, "label")))
    again = Schema.from_dict({"column": list(drafted(path).values())})
    for column in toy_schema.columns:
        found = again.column(column.name)
        assert (found.kind, found.minimum, found.maximum) == (
            column.kind,
            column.minimum,
            column.maximum,
        )
        assert (found.values, found.special, found.other) == (
            column.values,
            column.special,
            column.other,
        )


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_plain_dictionaries_are_read_with_any_separator(tmp_path: Path, mark: str) -> None:
    rows = [
        ["Variable", "Type", "Label", "Unit", "Values", "Min", "Max"],
        ["age", "integer", "Age", "years", "", "0", "120"],
        ["sex", "numeric", "Sex", "", '"1=male', "", ""],
        ["bp", "float", "Blood pressure", "mmHg", "-9=not measured", "40", "300"],
        ["town", "string", "", "", "", "", ""],
        ["day", "date", "", "", "", "2020-01-01", "2021-01-01"],
    ]
    rows[2][4] = '"1=male, 2=female"'
    path = write(tmp_path / "codes.csv", "\n".join(mark.join(row) for row in rows))
    columns = drafted(path)
    assert columns["age"]["description"] == "Age (years)"
    assert columns["sex"] | {"description": ""} == {
        "name": "sex",
        "kind": "category",
        "values": ["1", "2"],
        "description": "",
    }
    assert columns["bp"]["special"] == [-9.0] and columns["bp"]["min"] == 40.0
    assert columns["town"]["values"] == "private"
    assert columns["day"]["max"] == dt.date(2021, 1, 1)


def test_codes_that_stand_one_below_the_other_are_gathered(tmp_path: Path) -> None:
    text = (
        "Variable Name,Type,Code or Value,Value Description\n"
        "SEX,num,1,Male\nSEX,num,2,Female\nAGE,num,0-80,Range of values\n,,.,Missing\n"
    )
    columns = drafted(write(tmp_path / "codes.csv", text))
    assert columns["SEX"]["values"] == ["1", "2"]
    assert columns["SEX"]["description"] == "1 = Male; 2 = Female"
    assert (columns["AGE"]["min"], columns["AGE"]["max"]) == (0.0, 80.0)
    assert columns["AGE"]["nullable"] is True


@pytest.mark.parametrize("heading", ["mean", "Count", "Std. Dev.", "% missing", "Observed range"])
def test_a_summary_of_records_gives_no_bounds(tmp_path: Path, heading: str) -> None:
    text = f"name,type,min,max,values,{heading}\nage,int,3,97,,44.2\ntown,str,,,Ulm;Bonn,9\n"
    path = write(tmp_path / "summary.csv", text)
    columns = drafted(path)
    assert columns["age"]["bounds"] == columns["town"]["values"] == "private"
    written = draft_text(read_codebook(path), name="summary.csv", blanks=False)
    assert not {"97", "Ulm"} & set(written.replace('"', " ").split())
    public = read_codebook(path, public=True)
    assert public.source == PUBLIC and public.columns[0].maximum == 97
    lines = draft_text(public, name="summary.csv", blanks=False).splitlines()
    assert "max = 97  # from the file" in lines


@pytest.mark.parametrize(
    "content",
    [
        {"columns": [{"name": "age", "kind": "integer", "min": 0, "max": 9}]},
        {"age": {"type": "int", "range": "0..9"}},
        [{"variable": "age", "type": "int", "values": "0-9"}],
    ],
)
def test_lists_and_mappings_of_variables_are_read(tmp_path: Path, content: Any) -> None:
    columns = drafted(write(tmp_path / "codes.json", content))
    assert columns["age"] == {"name": "age", "kind": "integer", "min": 0, "max": 9}


def test_a_partly_open_schema_is_itself_a_codebook(tmp_path: Path) -> None:
    text = '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = "FILL IN"\n'
    text += '[[column]]\nname = "town"\nkind = "category"\nvalues = "private"\n'
    path = write(tmp_path / "open.toml", text)
    assert drafted(path)["age"]["bounds"] == drafted(path)["town"]["values"] == "private"


def test_blanks_are_refused_until_they_are_filled_in(tmp_path: Path) -> None:
    path = write(tmp_path / "codes.csv", "name,type\nage,int\ntown,str\nwhat,\n")
    written = draft_text(read_codebook(path), name=path.name, blanks=True)
    schema = write(tmp_path / "schema.toml", written)
    with pytest.raises(SchemaError) as raised:
        Schema.load(schema)
    for words in ("'age': min, max", "'town': values", "'what': kind"):
        assert words in str(raised.value)
    filled = written.replace(f'min = "{BLANK}"', "min = 0").replace(f'max = "{BLANK}"', "max = 9")
    filled = filled.replace(f'values = "{BLANK}"', 'values = ["a", "b"]')
    filled = filled.replace(f'kind = "{BLANK}"', 'kind = "category"\nvalues = ["a", "b"]')
    schema.write_text(filled)
    assert Schema.load(schema).names == ("age", "town", "what")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,type\nage,dog\n", "row 2: 'dog'"),
        ("name,type\n\nage,int\n,int\n", "row 4 has no name"),
        ("name,type\nage,int\nage,int\n", "'age' is described twice"),
        ("type,label\nint,Age\n", "call it `name`"),
        ("name,type\nnote,memo\n", "nothing in it can be a column"),
        ("", "is empty"),
    ],
)
def test_what_is_no_codebook_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path / "codes.csv", text)
    with pytest.raises(SchemaError) as raised:
        read_codebook(path)
    assert said in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "is_codebook"),
    [
        (REDCAP, True),
        ("variable;type\nage;int\n", True),
        ("name,type,age\nRex,dog,3\nTom,cat,4\n", False),
        ("name,type\nRex,\nTom,\n", False),
        ("age,sex\n3,f\n", False),
    ],
)
def test_a_table_is_not_taken_for_a_codebook(tmp_path: Path, text: str, is_codebook: bool) -> None:
    assert looks_like_codebook(write(tmp_path / "file.csv", text)) is is_codebook


def test_what_a_document_says_cannot_leave_its_line(tmp_path: Path) -> None:
    nasty = 'x"\n[[column]]\nname = "injected'
    entry = {"name": "a", "kind": "integer", "min": "1\n2", "max": 5, "description": nasty}
    path = write(tmp_path / "codes.json", {"columns": [entry]})
    draft = read_codebook(path)
    assert draft.source == DOCUMENT
    text = draft_text(draft, name=nasty, blanks=False)
    assert [column["name"] for column in tomllib.loads(text)["column"]] == ["a"]
