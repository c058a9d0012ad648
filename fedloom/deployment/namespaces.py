"""Machines of a federation as network namespaces of this one, for rehearsals and tests.

Each party gets a network of its own: its own loopback, one address, and no way to another party
but the switch between them, as machines of different institutions have. It needs Linux, root and
`ip` of iproute2; nothing outside of the new namespaces is touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType

from fedloom.common.errors import IncompleteError

__all__ = ["Namespaces"]

_NETWORK = "10.77.0"
_MOST_PARTIES = 200


class Namespaces:
    """A network of parties; use as a context manager, which takes it down.

    Args:
      parties: names; the first gets the first address.
    """

    def __init__(self, parties: Sequence[str]) -> None:
        """Names them; nothing is made yet."""
        if len(parties) > _MOST_PARTIES:
            raise ValueError(f"at most {_MOST_PARTIES} parties")
        self._prefix = f"fedloom-{os.getpid()}"
        self._number = {party: number for number, party in enumerate(parties, start=1)}
        self._made: list[str] = []

    @staticmethod
    def available() -> bool:
        """Whether this process may make namespaces here; tried out, for a container may forbid it.

        `ip` makes and takes away one with a name of its own.
        """
        if os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        probe = f"fedloom-probe-{os.getpid()}"
        done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
        if done.returncode == 0:
            subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
        return done.returncode == 0

    def address(self, party: str) -> str:
        """Returns a party's address."""
        return f"{_NETWORK}.{self._number[party]}"

    def within(self, party: str) -> list[str]:
        """Returns the words before a command that is to run on a party's machine."""
        return ["ip", "netns", "exec", self._name(party)]

    def __enter__(self) -> Namespaces:
        """Makes the switch and the parties' networks.

        Raises:
          IncompleteError: one cannot be made; none is left then.
        """
        try:
            switch = f"{self._prefix}-switch"
            self._add(switch)
            _ip("-n", switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", switch, "link", "set", "br0", "up")
            for party, number in self._number.items():
                self._connect(party, switch, number)
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Takes all of it down."""
        self._delete()

    def _connect(self, party: str, switch: str, number: int) -> None:
        name, port = self._name(party), f"port{number}"
        self._add(name)
        pair = ("type", "veth", "peer", "name", port, "netns", switch)
        _ip("-n", name, "link", "add", "eth0", *pair)
        _ip("-n", switch, "link", "set", port, "master", "br0", "up")
        _ip("-n", name, "address", "add", f"{self.address(party)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")

    def _add(self, name: str) -> None:
        _ip("netns", "add", name)
        self._made.append(name)

    def _delete(self) -> None:
        for name in reversed(self._made):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        self._made.clear()

    def _name(self, party: str) -> str:
        return f"{self._prefix}-{self._number[party]}"


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise IncompleteError(
            f"`ip {' '.join(words)}` failed: {done.stderr.strip()}; run it again on the loopback, "
            "with --loopback"
        )
