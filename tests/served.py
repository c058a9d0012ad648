"""`fedloom site serve` as a process of its own, and what a caller can send it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fedloom.client.link import connect
from fedloom.common.messages import Answer, Request
from tests.federation import send

__all__ = ["Served"]

ROOT = Path(__file__).resolve().parents[1]


class Served:
    """A vault that was started through the command line; `end` must be called."""

    def __init__(self, home: Path, socket: Path) -> None:
        words = ["site", "serve", "--home", str(home), "--socket", str(socket)]
        log = socket.with_suffix(".log")  # a pipe that nobody reads would fill up
        stream = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fedloom", *words],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=stream,
        )
        stream.close()
        while not (found := re.search(r" serving address=(.*)\n", log.read_text())):
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.02)
        self.connection = connect(found[1], timeout_s=60)

    def ask(self, asked: Request, *key: Any) -> Answer:
        """Sends a request, signed by the coordinator or by the key that is given; see `send`."""
        return Answer.unpack(send(self.connection, asked, *key))

    def send(self, data: bytes) -> Answer:
        """Sends bytes as they are."""
        return Answer.unpack(self.connection.handle(data))

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends the process a signal and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=30)
