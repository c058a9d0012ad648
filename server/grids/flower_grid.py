"""A `Link` over a Flower Grid.

Flower knows nodes by numbers that it hands out itself, a new one for every start of a node
without authentication, and it sends to whoever is connected. Here a node counts for nothing
until its answer to a `prepare` names a site of the study's list; other nodes are asked once
and then ignored. A node that comes back under another number is asked again, also while its
site's answer is still awaited. Each ask has its own message numbers and its own end, so
nothing waits for ever and a late answer of an earlier ask is not even fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from fedloom.common.errors import ConfigError, IncompleteError
from fedloom.common.messages import Answer, Request, from_record, to_record
from fedloom.common.vocabulary import Query
from fedloom.privacy.keys import verify
from fedloom.server.link import Progress

__all__ = ["FlowerLink", "Identify", "claimed_site", "signing_site"]

Identify = Callable[[bytes], str | None]

_MESSAGE_TYPE = "query.fedloom"
_PROBE_PAUSE_S = 15.0


def claimed_site(answer: bytes) -> str | None:
    """Returns the site that an answer claims to come from, unverified; None if it has none."""
    try:
        return Answer.unpack(answer).site or None
    except ConfigError:
        return None


def signing_site(answer: bytes, keys: Mapping[str, str]) -> str | None:
    """Returns the site whose key signed an answer, or None.

    Args:
      answer: a packed answer.
      keys: each site's Ed25519 public key.
    """
    try:
        unpacked = Answer.unpack(answer)
    except ConfigError:
        return None
    key = keys.get(unpacked.site, "")
    return unpacked.site if verify(key, unpacked.signed_bytes(), unpacked.signature) else None


@dataclass(slots=True)
class _Ask:
    """One ask under way: what was sent where, and what came back."""

    requests: Mapping[str, bytes]
    sent: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked_node: dict[str, int] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    answers: dict[str, bytes] = field(default_factory=dict)

    def open_sites(self) -> list[str]:
        return [s for s in self.requests if s not in self.answers and s not in self.failed]


class FlowerLink:
    """Asks sites through a Flower Grid.

    Args:
      grid: Flower's, or an `InProcessGrid`.
      sites: the study's sites; no other is ever listened to.
      identify: which site an answer proves to come from. By default what it claims; give one
        that checks the signature where nodes are not all one's own.
      poll_s: pause between two looks for answers.
      absent_after_s: a site without a connected node is given up after this many seconds, so
        that a dead site does not cost every round its whole time-out.
      gather_s: the same at the `prepare` that begins a run, when sites are still to come.
      set_deadline: told by when the grid must have given what has come, by the monotonic clock,
        before each ask; see `fedloom.server.grids.bounded_pull`.
    """

    def __init__(
        self,
        grid: Grid,
        sites: Collection[str],
        *,
        identify: Identify = claimed_site,
        poll_s: float = 0.5,
        absent_after_s: float = 60.0,
        gather_s: float = 600.0,
        set_deadline: Callable[[float], None] = lambda deadline: None,
    ) -> None:
        """Knows no node yet."""
        self._grid = grid
        self._sites = frozenset(sites)
        self._identify = identify
        self._poll_s = poll_s
        self._absent_after_s = absent_after_s
        self._gather_s = gather_s
        self._set_deadline = set_deadline
        self._node_of: dict[str, int] = {}
        self._strangers: set[int] = set()
        self._probe: bytes | None = None
        self._probes: dict[str, tuple[int, bytes]] = {}
        self._no_probe_before: dict[int, float] = {}
        self._number = 0

    def ask(
        self,
        requests: Mapping[str, bytes],
        timeout_s: float,
        progress: Progress | None = None,
    ) -> dict[str, bytes]:
        """Asks sites; see `fedloom.server.link.Link`."""
        unlisted = sorted(set(requests) - self._sites)
        if unlisted:
            raise ConfigError(f"{', '.join(unlisted)}: not among the sites of this link")
        if not requests:
            return {}
        self._number += 1
        ask = _Ask(requests)
        packed = next(iter(requests.values()))
        request = Request.unpack(packed)
        patience_s = self._absent_after_s
        if request.query in (Query.PREPARE, Query.FINISH):  # the same bytes for every site
            self._probe = packed
        if request.query is Query.PREPARE:
            patience_s = self._gather_s
        start = time.monotonic()
        self._set_deadline(start + timeout_s)
        while True:
            left = start + timeout_s - time.monotonic()
            with _carrier():
                online = set(self._grid.get_node_ids())
                if left > 0:
                    self._send(ask, online, left)
                self._collect(ask, progress)
            if not ask.open_sites() or left <= 0:
                return ask.answers
            if time.monotonic() - start > patience_s:
                ask.failed.update(s for s in ask.open_sites() if self._node_of.get(s) not in online)
            time.sleep(min(self._poll_s, left))

    def _send(self, ask: _Ask, online: set[int], ttl: float) -> None:
        """Sends what is still to be sent: requests to known sites, probes to unknown nodes."""
        outbox: list[tuple[int, bytes]] = []
        for site in ask.open_sites():
            node = self._node_of.get(site)
            if node in online and ask.asked_node.get(site) != node:
                assert node is not None
                ask.asked_node[site] = node
                outbox.append((node, ask.requests[site]))
        probed = self._nodes_to_probe(online, ttl)
        outbox += [(node, self._probe or b"") for node in probed]
        if not outbox:
            return
        messages = [
            Message(
                to_record(payload),
                dst_node_id=node,
                message_type=_MESSAGE_TYPE,
                ttl=max(ttl, 1.0),
                group_id=str(self._number),
            )
            for node, payload in outbox
        ]
        numbers = list(self._grid.push_messages(messages))
        for number, (node, payload) in zip(numbers, outbox, strict=True):
            if number:
                book = self._probes if node in probed else ask.sent
                book[number] = (node, payload)

    def _nodes_to_probe(self, online: set[int], ttl: float) -> list[int]:
        """Returns nodes to be asked who they are, none again while it may still answer."""
        if self._probe is None:
            return []
        now = time.monotonic()
        unknown = online - set(self._node_of.values()) - self._strangers
        nodes = sorted(node for node in unknown if self._no_probe_before.get(node, 0.0) <= now)
        self._no_probe_before.update(dict.fromkeys(nodes, now + max(ttl, _PROBE_PAUSE_S)))
        return nodes

    def _collect(self, ask: _Ask, progress: Progress | None) -> None:
        """Takes in what has come for this ask, and who nodes said they are."""
        waiting = [*ask.sent, *self._probes]
        if not waiting:
            return
        for reply in self._grid.pull_messages(waiting):
            number = reply.metadata.reply_to_message_id
            entry = ask.sent.pop(number, None) or self._probes.pop(number, None)
            if entry is None:
                continue
            node, payload = entry
            answer = _payload(reply)
            site = self._site_of(node) or self._meet(node, answer)
            if site is None or site not in ask.open_sites() or payload != ask.requests[site]:
                continue  # a stranger, or a probe only: the site's own request goes out next
            if answer:
                ask.answers[site] = answer
                if progress is not None:
                    progress(site)
            elif reply.has_error():
                # The node is gone, or refused the bundle; it may come back under another number.
                del self._node_of[site]
                ask.asked_node.pop(site, None)
                self._no_probe_before[node] = time.monotonic() + _PROBE_PAUSE_S
            else:
                ask.failed.add(site)

    def _site_of(self, node: int) -> str | None:
        return next((site for site, known in self._node_of.items() if known == node), None)

    def _meet(self, node: int, answer: bytes) -> str | None:
        """Learns from its answer to a probe whose node this is."""
        if not answer:
            self._no_probe_before[node] = time.monotonic() + _PROBE_PAUSE_S
            return None
        site = self._identify(answer)
        if site in self._sites:
            assert site is not None
            self._node_of[site] = node
            return site
        self._strangers.add(node)
        return None


@contextmanager
def _carrier() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        raise IncompleteError(
            f"Flower's SuperLink gave no answer ({type(error).__name__}); see its log, start it "
            "again, and resume the run"
        ) from error


def _payload(reply: Message) -> bytes:
    """Returns a reply's bytes; none for an error and for what is not fedloom's."""
    if reply.has_error():
        return b""
    try:
        return from_record(reply.content)
    except ConfigError:
        return b""
