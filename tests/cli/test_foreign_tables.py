"""Tables as institutions export them: read as the options say, or refused before signing.

Each table is one that was read wrongly once, or refused with advice that did not help.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedloom.privacy.ledger import read_ledger
from tests.federation import Outcome, cli

AGE = {"name": "age", "kind": "integer", "min": 0, "max": 110}
ILL = {"name": "ill", "kind": "category", "values": ["yes", "no"]}
CREA = {"name": "crea", "kind": "real", "min": 0, "max": 10}


def toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    text = str(value)
    if isinstance(value, str) and not text[:4].isdigit():
        return f'"{text}"'
    return text.lower() if isinstance(value, bool) else text


def schema(path: Path, *columns: dict[str, object]) -> Path:
    tables = ("\n".join(f"{key} = {toml(value)}" for key, value in c.items()) for c in columns)
    path.write_text("\n".join(f"[[column]]\n{table}\n" for table in tables), "utf-8")
    return path


def check(
    folder: Path, data: bytes, *words: str | Path, name: str = "a.csv", columns: object
) -> Outcome:
    path = folder / name
    path.write_bytes(data)
    return cli("schema", "check", schema(folder / "s.toml", *columns), path, *words)  # type: ignore[misc]


def seen(kind: str = "date") -> dict[str, object]:
    tail = "" if kind == "date" else "T00:00:00"
    return {
        "name": "seen",
        "kind": "datetime",
        "min": f"2022-12-31{tail}",
        "max": f"2024-01-02{tail}",
    }


ROWS = b"67;no\n23;yes\n83;no\n"
READ = {
    "semicolons": (b"age;ill\n" + ROWS, ("--separator", ";"), (AGE, ILL)),
    "tabs": (b"age\till\n67\tno\n", ("--separator", "tab"), (AGE, ILL)),
    "bars": (b"age|ill\n67|no\n", ("--separator", "|"), (AGE, ILL)),
    "Latin-1": (
        "âge,malade\n67,non\n45,peut-être\n".encode("latin-1"),
        ("--encoding", "latin-1"),
        (AGE | {"name": "âge"}, ILL | {"name": "malade", "values": ["non", "peut-être"]}),
    ),
    "a decimal comma in quotes": (
        b'age,ill,crea\n67,no,"0,55"\n83,no,"1,86"\n',
        ("--decimal", ","),
        (AGE, ILL, CREA),
    ),
    "thousands": (
        b'crea\n"1.234,5"\n"12,5"\n',
        ("--decimal", ",", "--thousands", "."),
        (CREA | {"max": 9999},),
    ),
    "Swiss thousands": (b"crea\n1'234.5\n", ("--thousands", "'"), (CREA | {"max": 9999},)),
    "spaces in numbers": (
        'crea\n"1\u00a0234,5"\n'.encode(),
        ("--decimal", ",", "--thousands", " "),
        (CREA | {"max": 9999},),
    ),
    "dates with the day first": (
        b"age,seen\n67,01/05/2023\n83,07/05/2023\n",
        ("--date-format", "%d/%m/%Y"),
        (AGE, seen()),
    ),
    "compact times": (
        b"age,seen\n67,20230109110443\n83,20230726110443\n",
        ("--date-format", "seen=%Y%m%d%H%M%S"),
        (AGE, seen("time")),
    ),
    "years of two digits": (b"seen\n01.05.23\n", ("--date-format", "%d.%m.%y"), (seen(),)),
    "Excel's days": (b"seen\n45092\n45093\n", ("--date-format", "excel"), (seen(),)),
    "two formats": (
        b"seen\n01.05.2023\n01.05.2023 13:45\n",
        ("--date-format", "%d.%m.%Y", "--date-format", "%d.%m.%Y %H:%M"),
        (seen("time"),),
    ),
    "midnight at the site as UTC": (
        b"seen\n2023-06-14T22:00:00Z\n",
        ("--time-zone", "Europe/Berlin"),
        (seen(),),
    ),
    "a title above": (
        b"Ward 3\n\nage;ill\n67;no\n",
        ("--header", "3", "--separator", ";"),
        (AGE, ILL),
    ),
    "no header": (b"67,no\n23,yes\n", ("--header", "age", "--header", "ill"), (AGE, ILL)),
    "single quotes": (b"'age','ill'\n'67','no'\n", ("--quote", "'"), (AGE, ILL)),
    "UTF-16 without its mark": (
        "age,ill\n67,no\n".encode("utf-16-le"),
        ("--encoding", "utf-16-le"),
        (AGE, ILL),
    ),
    "Windows' letters": (
        'n\n"\u201eja\u201c"\n'.encode("cp1252"),
        ("--encoding", "cp1252"),
        ({"name": "n", "kind": "category", "values": ["\u201eja\u201c", "x"]},),
    ),
    "another missing text": (b"age\n7\nk.A.\n", ("--missing", "k.A."), (AGE | {"nullable": True},)),
}


@pytest.mark.parametrize("name", READ)
def test_a_table_is_read_with_the_options_that_the_error_without_them_names(
    name: str, tmp_path: Path
) -> None:
    data, words, columns = READ[name]
    refused = check(tmp_path, data, columns=columns)
    assert refused.code == 2, refused.out
    for word in words:
        if word.startswith("--") and name not in ("another missing text",):
            assert word in refused.err or word == "--header", refused.err
    read = check(tmp_path, data, *words, columns=columns)
    assert read.code == 0, read.err + read.out


PLAIN = {
    "Excel's first line": b"sep=,\nage,ill\n67,no\n",
    "Excel's first line with semicolons": b"\xef\xbb\xbfsep=;\r\nage;ill\r\n67;no\r\n",
    "a header in quotes with spaces": b'" age ", "ill"\n67,no\n',
    "UTF-8 with its mark": b"\xef\xbb\xbfage,ill\n67,no\n",
    "UTF-16 with its mark": "age,ill\n67,no\n".encode("utf-16"),
    "Windows' ends of lines": b"age,ill\r\n67,no\r\n",
    "old Macs' ends of lines": b"age,ill\r67,no\r23,yes\r",
    "blank lines": b"\nage,ill\n67,no\n\n23,yes\n\n\n",
    "spaces around": b"age , ill\n 67 , no \n\xc2\xa023\xc2\xa0,yes\n",
    "numbers in other writing": b"age,ill\n6e1,no\n7.0,no\n+8,yes\n\xe2\x88\x920,no\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_a_file_says_outright_is_taken_from_it(name: str, tmp_path: Path) -> None:
    read = check(tmp_path, PLAIN[name], columns=(AGE, ILL))
    assert read.code == 0, read.err


DAMAGED = {
    "an Excel file under another name": (b"PK\x03\x04 not really", ("PK", "Excel")),
    "an old Excel file": (b"\xd0\xcf\x11\xe0 rest", (".xls", "save")),
    "Parquet": (b"PAR1 rest", ("Parquet", ".parquet")),
    "a web page": (b"<html><table><tr>", ("web page", "save it")),
    "rows that are too short": (
        b"age,ill\n67,no\n69\n83,no\n57\n",
        ("line 3", "1 lines more", "2"),
    ),
    "rows that are too long": (b"age,ill\n67,no,1\n", ("line 2", "3 cells")),
    "marks at the ends of lines": (b"age,ill\n67,no,\n", ("line 2", "ends with marks")),
    "a decimal comma without quotes": (b"age,ill\n67,5,no\n", ("line 2", "decimal comma")),
    "an open quote": (b'age,ill\n67,"no\n23,yes\n', ("line 2 to 3", "quote")),
    "a quote within quotes": (b'age,ill\n67,"n"o\n', ("line 2", "quote")),
    "a zero byte": (b"age,ill\n67,n\0o\n", ("line 2", "U+0000")),
    "names that are there twice": (b"age,ill,age\n1,no,2\n", ("'age' appears twice",)),
    "the blank end of a sheet": (b"age,ill\n67,no\n,\n,\n", ("lines 3 to 4", "delete")),
    "two marks alike": (b"age,ill;x\n67,no;y\n", ("separator",)),
    "nothing": (b"", ("empty",)),
    "a mark of UTF-16 and half a letter": (b"\xff\xfea\0g\0e\0,\0i", ("utf-16",)),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_an_error_that_says_what_was_seen(name: str, tmp_path: Path) -> None:
    data, said = DAMAGED[name]
    columns = (AGE, ILL | {"nullable": True})
    if name == "two marks alike":
        columns = (AGE, ILL | {"name": "ill;x", "values": ["no;y", "yes"]})
    refused = check(tmp_path, data, columns=columns)
    assert refused.code == 2 and str(tmp_path / "a.csv") in refused.err
    for word in said:
        assert word in refused.err, refused.err


UNREADABLE = {
    "a percent sign": (b"crea\n12%\n13%\n", "'%'"),
    "full-width digits": ("crea\n１２\n３\n".encode(), "digits 0 to 9"),
    "either mark of thousands": (b'crea\n"1,234"\n', "--thousands"),
    "other capital letters": (b"ill\nYes\nNO\n", "capital letters"),
    "letters read twice": ("ill\nja\nÃ¼ber\n".encode(), "UTF-8"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_said_by_how_it_looks(name: str, tmp_path: Path) -> None:
    data, said = UNREADABLE[name]
    columns = (
        (CREA | {"max": 9999},)
        if data.startswith(b"crea")
        else (ILL | {"values": ["yes", "no", "ü"]},)
    )
    refused = check(tmp_path, data, columns=columns)
    assert refused.code == 2 and said in refused.err, refused.err


def test_one_column_is_a_table_whose_missing_values_are_written(tmp_path: Path) -> None:
    column = (AGE | {"nullable": True},)
    for data, records in ((b'age\n7\n""\n8\n""\n\n\n', 4), (b"age\n7\n\n", 1), (b"age\n", 0)):
        read = check(tmp_path, data, "--json", columns=column)
        assert read.json["records"] == records
    refused = check(tmp_path, b"age\n7\n\n8\n", columns=column)
    assert refused.code == 2 and "line 3" in refused.err and "blank" in refused.err


def test_a_date_is_the_day_that_the_hospital_wrote(tmp_path: Path) -> None:
    data = b"seen\n2022-12-31T00:00:00+02:00\n2024-01-02T23:59:00-05:00\n"
    assert check(tmp_path, data, columns=(seen(),)).code == 0  # each is a bound of the column


def test_names_in_another_normal_form_are_the_same_names(tmp_path: Path) -> None:
    data = "Gro\u0308ße,ill\n120,yes\n".encode()
    for name in ("Größe", "Gro\u0308ße"):
        read = check(tmp_path, data, columns=(AGE | {"name": name, "max": 250}, ILL))
        assert read.code == 0, read.err


GERMAN = pd.DataFrame(
    {
        "alter": np.arange(600) % 90,
        "crea": [f"{0.5 + row / 200:.2f}".replace(".", ",") for row in range(600)],
        "kam": [f"{1 + row % 28:02d}.{1 + row % 12:02d}.2023" for row in range(600)],
    }
)
OPTIONS = ("--separator", ";", "--decimal", ",", "--date-format", "%d.%m.%Y")
SITES = ("north", "south", "west")


def study(folder: Path, keys: dict[str, str]) -> Path:
    columns = (AGE | {"name": "alter"}, CREA, seen() | {"name": "kam"})
    schema(folder / "schema.toml", *columns)
    sites = "".join(f'[[site]]\nname = "{name}"\n{keys.get(name, "")}\n' for name in SITES)
    if keys:
        sites += cli("coordinator", "keygen", folder / "coordinator.key").out
    (folder / "study.toml").write_text(
        '[study]\nname = "export"\nschema = "schema.toml"\n[privacy]\nepsilon = 3.0\ndelta = 1e-5\n'
        f'[model]\nkind = "mixture"\ncomponents = 4\n{sites}'
    )
    return folder / "study.toml"


def kinds(home: Path) -> list[str]:
    return [entry.read().kind for entry in read_ledger(home).entries]


@pytest.mark.parametrize("separator", [";", ","])
def test_a_german_export_is_refused_before_anything_is_signed_or_spent(
    separator: str, tmp_path: Path
) -> None:
    for name in SITES:
        GERMAN.to_csv(tmp_path / f"{name}.csv", index=False, sep=separator)
    agreed = study(tmp_path, {})
    pairs = [word for name in SITES for word in ("--site", f"{name}={tmp_path / name}.csv")]
    words = ("simulate", agreed, *pairs, "--out", tmp_path / "run")
    named = ("--clamp-column", "crea", "--clamp-column", "kam", "--clamp")
    for more in ((), ("--clamp",), named):
        refused = cli(*words, *more)
        assert refused.code == 2, refused.out
        expected = "--separator" if separator == ";" else "--decimal"
        assert expected in refused.err, refused.err
        for home in (tmp_path / "run" / "sites").iterdir():
            assert kinds(home) == ["genesis"]
    done = cli(*words, *(OPTIONS if separator == ";" else OPTIONS[2:]), "--json")
    assert done.code == 0 and done.json["state"] == "done", done.err


def test_a_steward_cannot_approve_a_table_that_is_not_readable(tmp_path: Path) -> None:
    data = tmp_path / "export.csv"
    GERMAN.to_csv(data, index=False, sep=";")
    keys, homes = {}, {}
    for name in SITES:
        homes[name] = tmp_path / name
        words = ("--name", name, "--epsilon", 3, "--data", data, "--separator", ";")
        assert cli("site", "init", "--home", homes[name], *words).code == 0
        keys[name] = cli("site", "keygen", "--home", homes[name]).out
    agreed, home = study(tmp_path, keys), homes["north"]
    config = home / "site.toml"
    peers = "".join(f"\n[peers.{name}]\n{keys[name]}" for name in SITES if name != "north")
    config.write_text(config.read_text() + peers)
    assert tomllib.loads(config.read_text())["source"]["separator"] == ";"
    words = ("site", "approve", agreed, "--home", home, "--yes")
    for more in ((), ("--clamp",), ("--clamp", "--clamp-column", "crea", "--clamp-column", "kam")):
        refused = cli(*words, *more)
        assert refused.code == 2 and "approved" not in refused.out.splitlines()[-1]
        assert 'decimal = ","' in refused.err and "%d.%m.%Y" in refused.err
        assert kinds(home) == ["genesis"] and not list((home / "snapshots").iterdir())
    config.write_text(
        config.read_text().replace(
            'separator = ";"', 'separator = ";"\ndecimal = ","\ndate_format = { kam = "%d.%m.%Y" }'
        )
    )
    done = cli(*words)
    assert done.code == 0, done.err
    assert kinds(home) == ["genesis", "approve"]
    other = homes["south"] / "site.toml"
    peers = "".join(f"\n[peers.{name}]\n{keys[name]}" for name in SITES if name != "south")
    other.write_text(other.read_text() + peers)
    done = cli("site", "approve", agreed, "--home", homes["south"], "--yes", *OPTIONS[2:])
    assert done.code == 0, done.err
