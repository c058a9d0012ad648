"""Records in a database, through SQLAlchemy. SQLite and PostgreSQL (pg8000) are tried for real.

Only the schema's columns are asked for, in one transaction that cannot write: the steward's
query runs inside a SELECT of ours, PostgreSQL's transaction is read-only, and SQLite's file is
opened with `query_only`. The database's password never appears in a message.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine

from fedloom.client.sources.config import Source
from fedloom.client.sources.wanted import find_columns
from fedloom.common.errors import DataError

__all__ = ["read_sql"]


def read_sql(source: Source, names: Sequence[str] | None) -> pd.DataFrame:
    """Reads the columns `names`, or all, of a query's result.

    Raises:
      DataError: the database or the query cannot be used, or its result lacks a column.
    """
    assert source.query is not None
    url = _url(source)
    where = url.render_as_string(hide_password=True)
    query = sa.text(f"({source.query.strip().rstrip(';')}\n) AS fedloom_source")
    engine = _engine(url, where)
    try:
        with engine.connect() as connection:
            nothing = sa.select(sa.text("*")).select_from(query).where(sa.false())
            present = list(connection.execute(nothing).keys())
            places = find_columns(present, names, where)
            wanted: list[sa.ColumnClause[object]] = [
                sa.column(present[place]) for place in places.values()
            ]
            rows = connection.execute(sa.select(*wanted).select_from(query)).fetchall()
    except sa.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise DataError(
            f"{where}: the query failed: {reason}; give one SELECT, and check address and rights"
        ) from None
    finally:
        engine.dispose()
    # Cells stay single objects: a type for the column would make integers beside NULL floats.
    columns = zip(*rows, strict=True) if rows else [()] * len(places)
    return pd.DataFrame(
        {
            name: pd.Series(list(cells), dtype=object)
            for name, cells in zip(places, columns, strict=True)
        }
    )


def _url(source: Source) -> URL:
    try:
        url = sa.engine.make_url(source.url or "")
    except sa.exc.ArgumentError:
        raise DataError(
            "[source]: url is not a database URL; write sqlite:///records.db or "
            "postgresql+pg8000://user@host/database"
        ) from None
    if source.password_env is not None:
        password = os.environ.get(source.password_env)
        if password is None:
            raise DataError(
                f"[source]: the environment has no {source.password_env}; set it to the password"
            )
        url = url.set(password=password)
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise DataError(f"{url.database}: no such SQLite file; give the path of the database")
    return url


def _engine(url: URL, where: str) -> Engine:
    try:
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise DataError(f"{where}: no driver: {error}; install it, or use pg8000") from None
    if url.get_backend_name() == "postgresql":
        return engine.execution_options(postgresql_readonly=True)
    if url.get_backend_name() == "sqlite":
        sa.event.listen(
            engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only=ON")
        )
    return engine
