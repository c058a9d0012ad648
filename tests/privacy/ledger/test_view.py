"""Views: right beside a writer, and without touching a file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fedloom.privacy.ledger import Ledger, read_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.privacy.ledger.conftest import SmallHome


def contents(home: Path) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in home.iterdir()}


def test_a_view_of_a_closed_ledger_touches_no_file(small: SmallHome) -> None:
    before = contents(small.path)
    view = read_ledger(small.path)
    assert view.budget(interval=1e-3)["studies"][0]["status"] == "approved"
    assert contents(small.path) == before
    assert "ledger.db-wal" not in before


def test_a_view_works_where_nothing_can_be_written(small: SmallHome) -> None:
    for path in small.path.iterdir():
        path.chmod(0o400)
    small.path.chmod(0o500)
    try:
        assert read_ledger(small.path).site == "seattle"
    finally:
        small.path.chmod(0o700)


def test_a_view_works_beside_a_writer_and_shows_its_last_entry(
    small: SmallHome, ledger: Ledger
) -> None:
    small.answer(ledger, 1)
    view = read_ledger(small.path)
    assert view.head == ledger.head
    assert view.contains_head(*ledger.head)
    assert not view.contains_head(ledger.head[0], "0" * 64)
    assert not view.contains_head(ledger.head[0] + 1, ledger.head[1])
    assert view.budget(interval=1e-3) == ledger.budget()
    assert view.approval(small.plan) == ledger.approval(small.plan)
    small.answer(ledger, 2)
    assert not view.contains_head(*ledger.head)


def test_readers_never_see_a_damaged_ledger_while_it_is_written(small: SmallHome) -> None:
    stop = threading.Event()
    errors: list[Exception] = []

    def read_on() -> None:
        while not stop.is_set():
            try:
                read_ledger(small.path)
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for number in range(12):
            with small.open() as ledger:
                small.reserve(ledger)
                if number < 3:
                    small.answer(ledger, number, answer=bytes(200_000))
    finally:
        stop.set()
        reader.join()
    assert errors == []
