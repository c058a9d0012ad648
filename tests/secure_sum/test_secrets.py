"""Unmasked shares, exact sums and noise are never stored, logged or sent: looked for byte by byte.

A whole run between real vaults and a real coordinator, in which one site falls silent once. What
every site held before it was masked is taken down on the way and looked for in every file of the
homes and of the run folder, and in everything that went over the link.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fedloom.client.vault as vault_module
import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
import fedloom.privacy.mechanisms.noisy_sum as statistic_module
from fedloom.common.messages import Answer, Request
from fedloom.privacy.secure_sum import RequestMask
from fedloom.server.coordinate import coordinate
from fedloom.server.run_folder import RunFolder
from tests.federation import COORDINATOR, RUN, signed
from tests.secure_sum.consortium import SITES, STEP, Consortium

WINDOW = 4
FACTORS = (3**39 + 2, 5**27 + 2, 7**22 + 2, 11**18)


class Secrets:
    """What no file and no message may hold: integers as they were before they were masked."""

    def __init__(self, monkeypatch) -> None:
        self.arrays: list[np.ndarray] = []
        self._watch(monkeypatch, statistic_module, "to_grid")
        self._watch(monkeypatch, statistic_module, "noise_share")
        self._watch(monkeypatch, gradient_module, "to_grid")
        self._watch(monkeypatch, gradient_module, "noise_share")
        masked_share = vault_module.masked_share

        def watched(share, mask):
            self._keep(share)
            return masked_share(share, mask)

        monkeypatch.setattr(vault_module, "masked_share", watched)

    def _watch(self, monkeypatch, owner, name) -> None:
        inner = getattr(owner, name)

        def watched(*args, **kwargs):
            self._keep(made := inner(*args, **kwargs))
            return made

        monkeypatch.setattr(owner, name, watched)

    def _keep(self, array: np.ndarray) -> None:
        if array.size > WINDOW:
            self.arrays.append(array.reshape(-1).copy())

    def leaked(self, texts: list[bytes]) -> bool:
        """Whether four words in a row are anywhere, as bytes; or as digits, of a few places."""
        rows = np.concatenate([telling(array) for array in self.arrays])
        numbers = numbered(rows.reshape(-1))[::WINDOW]
        order = np.argsort(numbers)
        rows, numbers = rows[order], numbers[order]
        assert np.unique(numbers).size > 1000
        together = b"".join(texts)
        for shift in range(8):
            size = (len(together) - shift) // 8
            words = np.frombuffer(together, "<i8", count=size, offset=shift)
            found = numbered(words)
            first = np.searchsorted(numbers[:-1], found)
            for place in np.flatnonzero(numbers[first] == found):
                # Small numbers that are read a byte off may have the number of other small ones.
                same = rows[numbers == found[place]]
                if (same == words[place : place + WINDOW]).all(axis=1).any():
                    return True
        digits = [text for array in self.arrays for text in written(array)]
        return any(needle in text for text in texts for needle in digits)


def telling(words: np.ndarray) -> np.ndarray:
    """Returns all runs of four different words that are not 0, as rows."""
    if words.size < WINDOW:
        return np.empty((0, WINDOW), np.int64)
    rows = np.lib.stride_tricks.sliding_window_view(words, WINDOW)
    usual = (np.diff(np.sort(rows, axis=1), axis=1) == 0).any(axis=1) | (rows == 0).any(axis=1)
    return rows[~usual]


def numbered(words: np.ndarray) -> np.ndarray:
    """Returns one number of 64 bits for every run of four words."""
    bits = words.view(np.uint64)
    count = max(bits.size - WINDOW + 1, 0)
    return sum(
        bits[place : place + count] * np.uint64(factor) for place, factor in enumerate(FACTORS)
    )


def written(words: np.ndarray) -> list[bytes]:
    """Returns the first and the middle telling run as people's texts would have them."""
    rows = telling(words)
    texts = []
    for row in rows[[0, len(rows) // 2]] if len(rows) else ():
        texts += [mark.join(str(word) for word in row).encode() for mark in (",", ", ", " ", "\n")]
        texts.append(row.tobytes().hex().encode())
    return texts


def files(*folders: Path) -> list[bytes]:
    return [p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()]


class Link:
    """Calls the vaults and keeps what they send; `silent` says when one does not answer."""

    def __init__(self, consortium: Consortium, silent: Callable[[str, Request], bool]) -> None:
        self.consortium, self.silent = consortium, silent
        self.sent: list[bytes] = []

    def ask(self, requests, timeout_s, progress=None):
        replies = {}
        for site, data in requests.items():
            if not self.silent(site, Request.unpack(data)):
                replies[site] = self.consortium.vaults[site].handle(data)
        self.sent += replies.values()
        return replies


@pytest.fixture
def run(consortium, tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", consortium.plan, run=RUN, details={}, key=COORDINATOR)


def west_once(site: str, request: Request) -> bool:
    """One site misses the first attempt of the second gradient round, also when asked again."""
    return site == "west" and (request.round, request.attempt) == (STEP + 1, 1)


@pytest.mark.slow
def test_a_run_stores_logs_and_sends_no_unmasked_share(consortium, run, monkeypatch):
    secrets = Secrets(monkeypatch)
    link = Link(consortium, west_once)
    events: list[dict] = []
    coordinate(run.path, link, on_event=events.append)
    assert run.done()
    void = [event for event in events if event["event"] == "void"]
    assert [(event["round"], event["sites"]) for event in void] == [(STEP + 1, list(SITES[:3]))]
    # Look, three rounds and the void attempt; whoever fell silent is set aside for the rest.
    assert consortium.charged() == [5, 5, 5, 2]
    assert len(secrets.arrays) == 3 * sum(consortium.charged())
    consortium.close()
    homes = [home.path for home in consortium.homes.values()]
    said = [str(event).encode() for event in events]
    assert not secrets.leaked([*files(*homes, run.path), *link.sent, *said])


def test_stored_answers_are_masked_while_the_run_goes_on(consortium, monkeypatch):
    secrets = Secrets(monkeypatch)
    sent = [consortium.vaults[s].handle(signed(consortium.request(STEP))) for s in SITES]
    stored = files(*(home.path for home in consortium.homes.values()))
    masked = Answer.unpack(sent[0]).arrays["sum"]
    assert any(masked[:2].tobytes() in text for text in stored)
    assert not secrets.leaked([*stored, *sent])


def plain(share: np.ndarray, **_) -> np.ndarray:
    return share


@pytest.mark.parametrize("place", ["answer", "log as bytes", "log as numbers"])
def test_a_share_that_gets_out_is_caught(consortium, monkeypatch, place):
    """The twin: no mask, or a log that says too much."""
    home = consortium.homes["east"]
    real = vault_module.masked_share

    def careless(share: np.ndarray, mask: RequestMask) -> np.ndarray:
        if place == "answer":
            return plain(share)
        said = share[:9].tobytes().hex() if place == "log as bytes" else str(share[:9].tolist())
        home.log(said)
        return real(share, mask)

    monkeypatch.setattr(vault_module, "masked_share", careless)
    secrets = Secrets(monkeypatch)
    sent = consortium.vaults["east"].handle(signed(consortium.request(STEP)))
    assert secrets.leaked([*files(home.path), sent])
