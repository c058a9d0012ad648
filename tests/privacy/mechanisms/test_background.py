"""Work beside other work: done once, over at the end, and its errors are not lost."""

from __future__ import annotations

import threading

import pytest

import fedloom.privacy.mechanisms.background as aside
from fedloom.privacy.mechanisms.background import in_background

MUCH = 10**6


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("size", [3, MUCH])
def test_the_work_is_done_once_by_one_thread(monkeypatch, cores, size):
    monkeypatch.setattr(aside, "_spare_core", lambda: cores > 1)
    threads = []
    with in_background(lambda: threads.append(threading.get_ident()) or 7, size) as result:
        assert result() == result() == 7
    assert len(threads) == 1
    beside = cores > 1 and size == MUCH
    assert (threads[0] != threading.get_ident()) is beside


def test_it_runs_while_the_block_does(monkeypatch):
    monkeypatch.setattr(aside, "_spare_core", lambda: True)
    inside = threading.Event()
    with in_background(lambda: inside.wait(10), MUCH) as result:
        inside.set()
        assert result()


def test_it_is_over_when_the_block_ends_in_an_error(monkeypatch):
    monkeypatch.setattr(aside, "_spare_core", lambda: True)
    go, done = threading.Event(), []

    def work():
        go.wait(10)
        done.append(True)

    with pytest.raises(KeyError), in_background(work, MUCH):
        go.set()
        raise KeyError
    assert done == [True]


@pytest.mark.parametrize("cores", [1, 2])
def test_its_errors_are_raised(monkeypatch, cores):
    monkeypatch.setattr(aside, "_spare_core", lambda: cores > 1)
    with pytest.raises(ZeroDivisionError), in_background(lambda: 1 // 0, MUCH) as result:
        result()
