"""Reserve, open, commit, finish: the rules, through the class."""

from __future__ import annotations

import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fedloom.common.errors import (
    ConfigError,
    DiskFullError,
    HomeInUseError,
    IncompleteError,
    LedgerError,
    NotApprovedError,
    RefusedError,
)
from fedloom.common.signed_heads import SeenHead
from fedloom.privacy.events import gaussian, repeat
from fedloom.privacy.keys import generate_key
from fedloom.privacy.ledger import Ledger, read_ledger
from tests.given import given

if TYPE_CHECKING:
    from tests.privacy.ledger.conftest import SmallHome

ROOT = Path(__file__).resolve().parents[3]


def test_a_run_from_reservation_to_finish(small: SmallHome, ledger: Ledger) -> None:
    for number in (1, 2):
        small.answer(ledger, number, answer=b"answer %d" % number)
    spent = ledger.budget()
    assert 0 < spent["epsilon_spent"] < spent["epsilon_reserved"] < spent["epsilon_limit"]
    assert [row["status"] for row in spent["studies"]] == ["reserved"]
    ledger.finish(small.plan, small.run)
    after = ledger.budget()
    assert after["epsilon_spent"] == after["epsilon_reserved"] == spent["epsilon_spent"]
    assert [row["status"] for row in after["studies"]] == ["finished"]


def kept(ledger: Ledger, small: SmallHome) -> bytes:
    stored = ledger.stored_answer(**small.key_of(1), request_digest="d")
    assert stored is not None
    return stored["sum"].tobytes()


def test_the_same_request_gets_the_same_bytes_and_another_none(
    small: SmallHome, ledger: Ledger
) -> None:
    assert ledger.stored_answer(**small.key_of(1), request_digest="d") is None
    small.answer(ledger, 1, answer=b"first")
    assert kept(ledger, small) == b"first"
    seq = ledger.head[0]
    with pytest.raises(RefusedError, match="another request"):
        ledger.stored_answer(**small.key_of(1), request_digest="other weights")
    with pytest.raises(RefusedError, match="another request"):
        small.open_attempt(ledger, 1, digest="other weights")
    with pytest.raises(RefusedError, match="only grow"):
        small.open_attempt(ledger, 1)
    with pytest.raises(RefusedError, match="answered already"):
        ledger.commit(**small.key_of(1), arrays=given(b"second"))
    assert ledger.head[0] == seq


def test_an_open_attempt_may_be_opened_again_and_is_charged_once(
    small: SmallHome, ledger: Ledger
) -> None:
    small.open_attempt(ledger, 1)
    seq = ledger.head[0]
    small.open_attempt(ledger, 1)
    assert ledger.head[0] == seq
    ledger.commit(**small.key_of(1), arrays=given(b"x"))
    small.answer(ledger, 2)
    small.answer(ledger, 3)


def test_heads_that_are_named_again_are_remembered_also_where_the_attempt_is_open(
    small: SmallHome, ledger: Ledger
) -> None:
    """A coordinator counts on it: it shows what came after, and no more."""
    opened = {"query": "statistic", "roster": ("a", "b"), "request_digest": "d"}
    run = small.key_of(1)["plan"], small.key_of(1)["run"]
    for seq in (3, 5):
        seen = {"k": SeenHead(epoch=0, seq=seq, hash="a" * 64)}
        ledger.open_attempt(**small.key_of(1), **opened, event=small.step, seen=seen)
        assert ledger.seen.get(*run, "k") == seen["k"]
    ledger.close()
    assert read_ledger(small.path).seen.get(*run, "k") == seen["k"]


def test_a_later_attempt_voids_an_unanswered_earlier_one(small: SmallHome, ledger: Ledger) -> None:
    for attempt in range(1, 5):
        small.open_attempt(ledger, 1, attempt)
    ledger.commit(**small.key_of(1, 4), arrays=given(b"x"))
    with pytest.raises(RefusedError, match="void"):
        ledger.commit(**small.key_of(1, 1), arrays=given(b"x"))
    with pytest.raises(RefusedError, match="only grow"):
        small.open_attempt(ledger, 1, 3)
    small.answer(ledger, 2)
    small.answer(ledger, 3)
    with pytest.raises(RefusedError, match="has 0 of those left"):
        small.open_attempt(ledger, 1, 5)


def test_attempts_are_numbered_from_one_without_a_gap(small: SmallHome, ledger: Ledger) -> None:
    """Also where this site was not asked, or never heard of it: then the roster tells of it."""
    both, alone = ("portland", "seattle"), ("seattle", "yakima")
    opened = {"query": "statistic", "roster": both, "request_digest": "d", "event": small.step}
    for attempt, void in ((2, []), (2, [both, both]), (0, []), (2**31 - 1, [])):
        with pytest.raises(RefusedError, match=r"only grow|without a gap"):
            ledger.open_attempt(**small.key_of(1, attempt), **opened, void=void)
    ledger.open_attempt(**small.key_of(1, 3), **opened, void=[alone, alone])
    with pytest.raises(RefusedError, match="asked of other sites"):
        ledger.open_attempt(**small.key_of(1, 4), **opened, void=[alone, alone, alone])
    ledger.open_attempt(**small.key_of(1, 4), **opened, void=[alone, both, both])
    ledger.open_attempt(**small.key_of(2), **opened)


@pytest.mark.parametrize("event", [gaussian(7.9), repeat(gaussian(8.0), 4), gaussian(9.0)])
def test_what_was_not_reserved_is_not_opened(small: SmallHome, ledger: Ledger, event: Any) -> None:
    with pytest.raises(RefusedError, match="left"):
        ledger.open_attempt(
            **small.key_of(1), query="statistic", roster=["s"], request_digest="d", event=event
        )


def test_only_approved_plans_are_reserved_as_they_were_approved(small: SmallHome) -> None:
    with small.open() as ledger:
        with pytest.raises(NotApprovedError, match="not approved"):
            ledger.reserve(plan="other", run="r", event=small.step)
        with pytest.raises(RefusedError, match="not the event that was approved"):
            ledger.reserve(plan=small.plan, run="r", event=small.step)
        with pytest.raises(RefusedError, match="not reserved"):
            small.open_attempt(ledger, 1)
        ledger.revoke(small.plan)
        assert ledger.approval(small.plan) is None
        with pytest.raises(NotApprovedError, match="revoked"):
            small.reserve(ledger)
        with pytest.raises(NotApprovedError):
            ledger.revoke(small.plan)


def test_a_pause_stops_everything_that_would_leave(small: SmallHome, ledger: Ledger) -> None:
    small.open_attempt(ledger, 1)
    ledger.pause()
    assert ledger.is_paused
    for act in (
        lambda: small.open_attempt(ledger, 1),
        lambda: small.open_attempt(ledger, 2),
        lambda: ledger.commit(**small.key_of(1), arrays=given(b"x")),
        lambda: ledger.reserve(plan=small.plan, run="r2", event=repeat(small.step, 3)),
    ):
        with pytest.raises(NotApprovedError, match="paused"):
            act()
    ledger.resume()
    ledger.commit(**small.key_of(1), arrays=given(b"x"))


def test_reserving_the_same_run_again_is_free(small: SmallHome, ledger: Ledger) -> None:
    seq = ledger.head[0]
    small.reserve(ledger)
    assert ledger.head[0] == seq
    with pytest.raises(RefusedError, match="is reserved"):
        ledger.reserve(plan=small.plan, run=small.run, event=small.step)


def test_a_finished_run_answers_nothing_more_and_keeps_no_answer(
    small: SmallHome, ledger: Ledger
) -> None:
    secret = b"an answer that must not stay on disk" * 100
    small.answer(ledger, 1, answer=secret)
    ledger.finish(small.plan, small.run)
    ledger.finish(small.plan, small.run)
    assert ledger.stored_answer(**small.key_of(1), request_digest="d") is None
    with pytest.raises(RefusedError, match="finished"):
        small.open_attempt(ledger, 2)
    with pytest.raises(RefusedError, match="reserved"):
        small.reserve(ledger)
    ledger.record_release(plan=small.plan, run=small.run, digest="ab")
    ledger.close()
    for path in small.path.glob("ledger.*"):
        assert secret[:36] not in path.read_bytes()


def test_reopening_finds_everything_again(small: SmallHome) -> None:
    with small.open() as ledger:
        small.reserve(ledger)
        small.answer(ledger, 1, answer=b"kept")
        small.open_attempt(ledger, 2)
        head = ledger.head
    with small.open() as ledger:
        assert ledger.head == head
        assert kept(ledger, small) == b"kept"
        ledger.commit(**small.key_of(2), arrays=given(b"x"))
        with pytest.raises(RefusedError, match="another request"):
            small.open_attempt(ledger, 2, digest="other")


def test_a_ledger_is_never_replaced_and_its_files_are_private(small: SmallHome) -> None:
    arguments: dict[str, Any] = {
        "private_key": small.key,
        "site": "seattle",
        "epsilon_limit": 99.0,
        "delta_limit": 1e-5,
    }
    with pytest.raises(ConfigError, match="never replaced"):
        Ledger.create(small.path, **arguments)
    for name in ("ledger.db", "ledger.head", "lock"):
        assert stat.S_IMODE((small.path / name).stat().st_mode) == 0o600
    (small.path / "ledger.db").unlink()
    with pytest.raises(ConfigError, match="never replaced"):
        Ledger.create(small.path, **arguments)


@pytest.mark.parametrize(
    "limits", [(0.0, 1e-5), (float("nan"), 1e-5), (float("inf"), 1e-5), (1.0, 0.0), (1.0, 1.0)]
)
def test_unusable_limits_leave_no_files(tmp_path: Path, limits: tuple[float, float]) -> None:
    key = generate_key(tmp_path / "key.pem")
    with pytest.raises(ConfigError):
        Ledger.create(
            tmp_path / "home",
            private_key=key,
            site="s",
            epsilon_limit=limits[0],
            delta_limit=limits[1],
        )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "changed", [{"round": -1}, {"round": True}, {"attempt": 1.0}, {"query": ""}, {"roster": []}]
)
def test_unusable_numbers_in_a_request_are_refused(
    small: SmallHome, ledger: Ledger, changed: dict[str, Any]
) -> None:
    request: dict[str, Any] = {**small.key_of(1), "query": "statistic", "roster": ["s"]}
    with pytest.raises(RefusedError, match="unusable value"):
        ledger.open_attempt(**{**request, **changed}, request_digest="d", event=small.step)


def test_a_second_writer_is_told_which_home_and_what_to_do(
    small: SmallHome, ledger: Ledger
) -> None:
    with pytest.raises(HomeInUseError, match="in use by another process") as caught:
        small.open()
    assert str(small.path) in str(caught.value)
    program = (
        "import sys; from pathlib import Path; from fedloom.privacy.ledger import Ledger;"
        "from fedloom.privacy.keys import load_private_key; home = Path(sys.argv[1]);"
        "Ledger.open(home, load_private_key(home / 'key.pem'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(small.path)], cwd=ROOT, capture_output=True, text=True
    )
    assert "HomeInUseError" in done.stderr
    small.answer(ledger, 1)


def test_another_key_is_refused(small: SmallHome, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="another key"):
        Ledger.open(small.path, generate_key(tmp_path / "other.pem"))
    small.open().close()


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file may grow beyond `bytes_left`: writes then fail as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("bytes_left", [0, 50, 2000])
def test_a_disk_that_is_full_while_reserving_leaves_the_ledger_as_it_was(
    small: SmallHome, bytes_left: int
) -> None:
    with small.open() as ledger:
        head = ledger.head
        with (
            pytest.raises(DiskFullError, match=r"nothing was written.*nothing is to be restored"),
            full_disk(bytes_left),
        ):
            small.reserve(ledger)
        assert ledger.head == head == read_ledger(small.path).head
        assert ledger.budget()["epsilon_reserved"] == 0
        small.reserve(ledger)
        with pytest.raises(IncompleteError), full_disk(60_000):
            small.answer(ledger, 1, answer=bytes(100_000))
        assert ledger.stored_answer(**small.key_of(1), request_digest="d") is None
        ledger.commit(**small.key_of(1), arrays=given(bytes(100_000)))
    assert read_ledger(small.path).budget(interval=1e-3)["epsilon_spent"] > 0


def test_a_head_that_cannot_be_renamed_closes_the_ledger_until_it_is_opened_again(
    small: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small.open() as ledger:
        with monkeypatch.context() as patch:
            patch.setattr("os.replace", _no_rename)
            with pytest.raises(IncompleteError, match="opened again"):
                small.reserve(ledger)
        with pytest.raises(IncompleteError, match="open it again"):
            small.reserve(ledger)
    with small.open() as ledger:
        assert [run.run for run in ledger.grants(small.plan)[0].unfinished] == [small.run]


def _no_rename(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_closed_ledger_takes_nothing(small: SmallHome) -> None:
    ledger = small.open()
    ledger.close()
    ledger.close()
    with pytest.raises(IncompleteError, match="closed"):
        small.reserve(ledger)
