"""Records in SQLite and in a real PostgreSQL server; neither can be written to."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from fedloom.client.sources import Source, load_table
from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError
from fedloom.common.schema import Schema

QUERY = "SELECT *, 'not in the schema' AS extra FROM people;"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, toy_table: pd.DataFrame) -> str:
    """URL of a database that holds `toy_table` as `people`."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'records.db'}"
    else:
        url = request.getfixturevalue("postgres_url")
    engine = sa.create_engine(url)
    table = toy_table.assign(seen=toy_table["seen"].dt.date)
    table.to_sql("people", engine, index=False, if_exists="replace")
    engine.dispose()
    return str(url)


def count(url: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT count(*) FROM people")).scalar_one()
    engine.dispose()
    return int(rows)


def test_query_gives_the_same_codes_as_the_table(
    database_url: str, toy_schema: Schema, toy_table: pd.DataFrame
) -> None:
    loaded = load_table(Source(url=database_url, query=QUERY), toy_schema)
    assert list(loaded.columns) == list(toy_schema.names)
    encoding = Encoding(toy_schema, "label")
    assert (encoding.encode(loaded).codes == encoding.encode(toy_table).codes).all()


def test_numbers_of_exact_types_are_read(database_url: str, toy_schema: Schema) -> None:
    query = QUERY.replace(
        "*", "sex, visits, CAST(income AS NUMERIC(12, 2)) AS income, health, seen, town, label"
    )
    loaded = load_table(Source(url=database_url, query=query), toy_schema)
    encoded = Encoding(toy_schema).encode(loaded)
    assert encoded.unknown["income"] == encoded.missing["income"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM people",
        "SELECT 1) AS x; DELETE FROM people; SELECT * FROM (SELECT 1",
        "WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone",
    ],
)
def test_a_query_cannot_write(database_url: str, toy_schema: Schema, query: str) -> None:
    before = count(database_url)
    with pytest.raises(DataError, match="query failed|no column"):
        load_table(Source(url=database_url, query=query), toy_schema)
    assert count(database_url) == before == 200


def test_refusals_name_database_and_column_and_no_password(
    database_url: str, toy_schema: Schema
) -> None:
    with pytest.raises(DataError, match="no column 'town'") as refusal:
        load_table(
            Source(
                url=database_url,
                query="SELECT sex, visits, income, health, seen, label FROM people",
            ),
            toy_schema,
        )
    assert "secret" not in str(refusal.value)
    with pytest.raises(DataError, match="query failed.*peple") as refusal:
        load_table(Source(url=database_url, query="SELECT * FROM peple"), toy_schema)
    assert "secret" not in str(refusal.value)


def test_what_is_no_database_is_refused(
    toy_schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent.db"
    with pytest.raises(DataError, match="no such SQLite file"):
        load_table(Source(url=f"sqlite:///{absent}", query=QUERY), toy_schema)
    assert not absent.exists()
    with pytest.raises(DataError, match="not a database URL"):
        load_table(Source(url="records.db", query=QUERY), toy_schema)
    with pytest.raises(DataError, match="no driver"):
        load_table(Source(url="nosuch://host/db", query=QUERY), toy_schema)
    nobody = "postgresql+pg8000://reader@127.0.0.1:1/db"
    with pytest.raises(DataError, match="query failed"):
        load_table(Source(url=nobody, query=QUERY), toy_schema)
    source = Source(url=nobody, query=QUERY, password_env="FEDLOOM_TEST_PASSWORD")
    with pytest.raises(DataError, match="environment has no FEDLOOM_TEST_PASSWORD"):
        load_table(source, toy_schema)
    monkeypatch.setenv("FEDLOOM_TEST_PASSWORD", "secret")
    with pytest.raises(DataError, match="query failed") as refusal:
        load_table(source, toy_schema)
    assert "secret" not in str(refusal.value)
