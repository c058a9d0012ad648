from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import httpx
import pytest
from flwr.app import Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedloom.client.app import app
from fedloom.common.errors import ConfigError, IncompleteError
from fedloom.common.messages import Answer, Request, from_record, to_record
from fedloom.in_process import in_process_link
from fedloom.privacy.keys import generate_key, public_key_hex, sign
from fedloom.server.grids import flower_grid
from fedloom.server.grids.flower_grid import FlowerLink, signing_site
from fedloom.server.grids.in_process import InProcessGrid
from tests.made_answers import answer_header


def request(query: str, round_number: int = 0) -> bytes:
    return Request(query=query, study="s", plan="p", run="r", round=round_number).pack()


def answer(site: str, echo: bytes = b"") -> bytes:
    return Answer(header=answer_header(site, nonce=echo.hex())).pack()


class Clock:
    """The link's clock: it moves only when the link sleeps, and not while `held` is true.

    Waiting costs no real time this way, and what a test says of seconds holds on any machine.
    """

    def __init__(self, held: Callable[[], bool] = lambda: False) -> None:
        self.now = 1000.0
        self.held = held
        self._due: list[tuple[float, Callable[[], object]]] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        time.sleep(0.001)  # the threads of an InProcessGrid work on
        if not self.held():
            self.now += seconds
        for entry in [entry for entry in self._due if entry[0] <= self.now]:
            self._due.remove(entry)
            entry[1]()

    def after(self, seconds: float, act: Callable[[], object]) -> None:
        self._due.append((self.now + seconds, act))


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(flower_grid, "time", clock)
    return clock


class Site:
    """A vault that says who it is and what it was asked."""

    def __init__(self, name: str, *, silent: bool = False, hang: threading.Event | None = None):
        self.name, self.silent, self.hang = name, silent, hang
        self.asked: list[str] = []

    def handle(self, data: bytes) -> bytes:
        query = Request.unpack(data).query
        self.asked.append(query)
        if self.hang is not None and query != "prepare":
            self.hang.wait()
        return b"" if self.silent else answer(self.name, data)


def echoed(data: bytes) -> bytes:
    return bytes.fromhex(Answer.unpack(data).header.nonce)


def ask_all(link, sites, query, *, round_number=0, timeout_s=5.0, progress=None):
    body = request(query, round_number)
    return link.ask({name: body for name in sites}, timeout_s, progress)


def test_in_three_rounds_six_sites_are_asked_once_a_round():
    sites = {f"site{i}": Site(f"site{i}") for i in range(6)}
    with in_process_link(sites) as link:
        seen: list[str] = []
        for number, query in enumerate(("prepare", "statistic", "train")):
            answers = ask_all(link, sites, query, round_number=number, progress=seen.append)
            assert set(answers) == set(sites)
            assert all(echoed(a) == request(query, number) for a in answers.values())
    assert sorted(seen) == sorted(3 * list(sites))
    # The first describe is the probe as well: no site is asked anything twice.
    assert all(site.asked == ["prepare", "statistic", "train"] for site in sites.values())


def test_a_silent_site_is_not_waited_for(clock):
    sites = {"a": Site("a"), "b": Site("b")}
    with in_process_link(sites) as link:
        ask_all(link, sites, "prepare")
        sites["b"].silent = True
        clock.held = lambda: "train" not in sites["a"].asked or "train" not in sites["b"].asked
        start = clock.now
        assert set(ask_all(link, sites, "train", timeout_s=30)) == {"a"}
        assert clock.now - start < 30


def test_a_hanging_site_costs_the_time_out_and_its_late_answer_is_ignored(clock):
    gate = threading.Event()
    sites = {"a": Site("a"), "b": Site("b", hang=gate), "c": Site("c")}
    with in_process_link(sites) as link:
        ask_all(link, sites, "prepare")
        come: list[str] = []
        clock.held = lambda: set(come) != {"a", "c"}
        start = clock.now
        answers = ask_all(
            link, sites, "statistic", round_number=1, timeout_s=1, progress=come.append
        )
        assert set(answers) == {"a", "c"}
        assert clock.now - start == pytest.approx(1)
        gate.set()
        clock.held = lambda: True
        answers = ask_all(link, sites, "train", round_number=2)
        assert set(answers) == {"a", "b", "c"}
        assert echoed(answers["b"]) == request("train", 2)
    assert sites["b"].asked == ["prepare", "statistic", "train"]


def test_sites_outside_the_list_cannot_be_asked_and_are_not_listened_to():
    sites = {"a": Site("a"), "stranger": Site("stranger")}
    with in_process_link(sites) as link:
        link = FlowerLink(link._grid, ["a"], poll_s=0.005)
        with pytest.raises(ConfigError, match="stranger"):
            ask_all(link, sites, "prepare")
        assert set(ask_all(link, ["a"], "prepare")) == {"a"}
        assert set(ask_all(link, ["a"], "train")) == {"a"}
    assert sites["stranger"].asked == ["prepare"]


def test_a_crash_of_the_client_app_reaches_the_coordinator_as_an_error_without_text():
    def crash(message, context):
        raise ValueError("record 17 has age ninety-three")

    with InProcessGrid(crash, {7: {}}) as grid:  # type: ignore[arg-type]
        message = Message(to_record(b"x"), dst_node_id=7, message_type="query.fedloom")
        (reply,) = grid.send_and_receive([message], timeout=5)
        assert reply.has_error()
        assert "ninety-three" not in str(reply.error.reason)


def test_the_grid_itself_waits_no_longer_than_it_is_told():
    gate = threading.Event()

    def hang(message, context):
        gate.wait()
        return Message(message.content, reply_to=message)

    with InProcessGrid(hang, {7: {}}) as grid:  # type: ignore[arg-type]
        message = Message(to_record(b"x"), dst_node_id=7, message_type="query.fedloom")
        assert list(grid.send_and_receive([message], timeout=0.1)) == []
        gate.set()


class RestartingGrid(Grid):
    """Nodes that come, go and return under other numbers; answers on the next look."""

    def __init__(self, nodes: dict[int, Site]) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self.online = dict(nodes)
        self.lost: set[int] = set()  # connected as far as Flower knows, but dead
        self.sent: list[tuple[int, str]] = []
        self._replies: dict[str, Message] = {}
        self._waiting: list[Message] = []

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return [*self.online, *self.lost]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        numbers = []
        for message in messages:
            number = f"m{len(self.sent)}"
            message.metadata.__dict__["_message_id"] = number
            node = message.metadata.dst_node_id
            data = from_record(message.content)
            self.sent.append((node, Request.unpack(data).query))
            numbers.append(number)
            if node in self.lost:
                self._waiting.append(message)
            elif node in self.online:
                content = to_record(self.online[node].handle(data))
                self._replies[number] = Message(content, reply_to=message)
        return numbers

    def notice_lost_nodes(self) -> None:
        """What Flower does after two missed heartbeats."""
        for message in self._waiting:
            error = Message(Error(3, "Node Unavailable"), reply_to=message)
            self._replies[message.metadata.message_id] = error
        self.lost.clear()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self._replies.pop(n) for n in message_ids if n in self._replies]

    def send_and_receive(self, messages, *, timeout=None):
        raise NotImplementedError


def test_a_node_that_returns_under_another_number_is_found_again():
    a, b = Site("a"), Site("b")
    grid = RestartingGrid({1: a, 2: b})
    link = FlowerLink(grid, ["a", "b"], poll_s=0.005)
    ask_all(link, "ab", "prepare")
    del grid.online[2]
    grid.online[9] = b
    assert set(ask_all(link, "ab", "train")) == {"a", "b"}
    assert grid.sent[2:] == [(1, "train"), (9, "prepare"), (9, "train")]
    assert set(ask_all(link, "ab", "train", round_number=2)) == {"a", "b"}
    assert len(grid.sent) == 7


def test_a_node_that_restarts_while_its_answer_is_awaited_is_asked_again(clock):
    a, b = Site("a"), Site("b")
    grid = RestartingGrid({1: a, 2: b})
    link = FlowerLink(grid, ["a", "b"], poll_s=0.005)
    ask_all(link, "ab", "prepare")
    grid.lost.add(grid.online.pop(2) and 2)
    clock.after(0.1, lambda: grid.online.update({9: b}))
    assert set(ask_all(link, "ab", "train")) == {"a", "b"}
    assert (9, "train") in grid.sent


def test_flowers_own_error_for_a_lost_node_does_not_end_the_wait_for_its_return(clock):
    a, b = Site("a"), Site("b")
    grid = RestartingGrid({1: a, 2: b})
    link = FlowerLink(grid, ["a", "b"], poll_s=0.005)
    ask_all(link, "ab", "prepare")
    grid.lost.add(grid.online.pop(2) and 2)
    clock.after(0.05, grid.notice_lost_nodes)
    clock.after(0.15, lambda: grid.online.update({9: b}))
    assert set(ask_all(link, "ab", "train")) == {"a", "b"}


def test_a_site_that_left_is_given_up_before_the_time_out_but_not_while_all_gather(clock):
    a, b = Site("a"), Site("b")
    grid = RestartingGrid({1: a, 2: b})
    link = FlowerLink(grid, ["a", "b"], poll_s=0.005, absent_after_s=0.1)
    del grid.online[2]
    clock.after(0.3, lambda: grid.online.update({2: b}))
    assert set(ask_all(link, "ab", "prepare")) == {"a", "b"}
    del grid.online[2]
    start = clock.now
    assert set(ask_all(link, "ab", "train", timeout_s=20)) == {"a"}
    assert clock.now - start == pytest.approx(0.1, abs=0.01)


def test_nobody_connected_ends_with_nobody_after_the_time_out(clock):
    link = FlowerLink(RestartingGrid({}), ["a"], poll_s=0.005)
    start = clock.now
    assert ask_all(link, "a", "prepare", timeout_s=0.2) == {}
    assert clock.now - start == pytest.approx(0.2)


def test_a_superlink_that_is_gone_is_an_error_that_says_resume():
    class Gone(RestartingGrid):
        def get_node_ids(self):
            raise httpx.ConnectError("refused")

    with pytest.raises(IncompleteError, match="resume"):
        ask_all(FlowerLink(Gone({}), ["a"]), "a", "prepare")


def test_only_a_sites_own_key_names_a_node(tmp_path):
    key, other = generate_key(tmp_path / "a.pem"), generate_key(tmp_path / "b.pem")
    unsigned = Answer.unpack(answer("a"))
    keys = {"a": public_key_hex(key), "b": public_key_hex(other)}
    for signer, site in ((key, "a"), (other, None)):
        signature = sign(signer, unsigned.signed_bytes())
        packed = Answer(header=unsigned.header, signature=signature).pack()
        assert signing_site(packed, keys) == site
    assert signing_site(b"nonsense", keys) is None


def test_the_real_client_app_is_what_runs():
    with InProcessGrid(app, {7: {}}) as grid:
        message = Message(RecordDict(), dst_node_id=7, message_type="train")
        (reply,) = grid.send_and_receive([message], timeout=5)
        assert reply.has_error()  # only the one query is served
