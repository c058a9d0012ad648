"""A bad line between two ports of a machine: frames that are late, lost, or too many.

    python bad_line.py PORT PORT DELAY_S LOSS BYTES_PER_S SEED

What `tc netem` does where the kernel has it, in user space: every Ethernet frame that comes in at
one port leaves at the other after a delay, unless it is lost, and no faster than the line. What
would wait too long is dropped, as a router's queue drops it. TCP above it sees real losses. Needs
root, Linux, and ports whose machines compute their checksums themselves (`no_offload`).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

__all__ = ["Line", "carry", "no_offload"]

_SIOCETHTOOL = 0x8946
_SETTERS = {"checksums": 0x17, "segments": 0x1F}  # ETHTOOL_STXCSUM, ETHTOOL_STSO
_ALL_FRAMES = 0x0003
_OUTGOING = 4
_LARGEST = 1 << 16
_QUEUE_S = 2.0


class Line:
    """One direction: what has come in and has not left yet.

    Args:
      delay_s: of every frame.
      loss: probability that a frame is lost.
      rate: bytes a second.
      rng: decides what is lost.
    """

    def __init__(self, delay_s: float, loss: float, rate: float, rng: random.Random) -> None:
        self._delay_s, self._loss, self._rate, self._rng = delay_s, loss, rate, rng
        self._free = 0.0
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0

    def take(self, frame: bytes, now: float) -> None:
        """Takes a frame in, or loses it."""
        begins = max(now, self._free)
        if self._rng.random() < self._loss or begins - now > _QUEUE_S:
            return
        self._free = begins + len(frame) / self._rate
        self._number += 1
        heapq.heappush(self._waiting, (self._free + self._delay_s, self._number, frame))

    def due(self, now: float) -> list[bytes]:
        """Returns the frames that leave now, in order."""
        leaving = []
        while self._waiting and self._waiting[0][0] <= now:
            leaving.append(heapq.heappop(self._waiting)[2])
        return leaving

    def next_due(self) -> float | None:
        """Returns when the next frame leaves."""
        return self._waiting[0][0] if self._waiting else None


def no_offload(device: str) -> None:
    """Has the kernel finish checksums and segments itself, so that frames can be carried."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _SETTERS.values():
            value = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
            fcntl.ioctl(control, _SIOCETHTOOL, request)


def carry(ports: tuple[str, str], lines: tuple[Line, Line]) -> None:
    """Carries frames between two ports for ever; `lines` are the two directions."""
    sockets = []
    for port in ports:
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_FRAMES))
        opened.bind((port, 0))
        opened.setblocking(False)
        sockets.append(opened)
    other = {sockets[0]: sockets[1], sockets[1]: sockets[0]}
    line_of = dict(zip(sockets, lines, strict=True))
    while True:
        times = [due for line in lines if (due := line.next_due()) is not None]
        wait = max(0.0, min(times) - time.monotonic()) if times else None
        for opened in select.select(sockets, [], [], wait)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame, address = opened.recvfrom(_LARGEST)
                    if address[2] != _OUTGOING:
                        line_of[opened].take(frame, time.monotonic())
        for opened, line in line_of.items():
            for frame in line.due(time.monotonic()):
                with contextlib.suppress(OSError):
                    other[opened].send(frame)


if __name__ == "__main__":
    first, second, delay_s, loss, rate, seed = sys.argv[1:]
    if not second:
        no_offload(first)
    else:
        rng = random.Random(int(seed))
        both = [Line(float(delay_s), float(loss), float(rate), rng) for _ in range(2)]
        carry((first, second), (both[0], both[1]))
