"""What happens to machines beside being killed: lines, clocks, disks and certificates."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from fedloom.server.provision import certificates
from fedloom.server.provision.coordinator_home import CoordinatorHome
from tests.deploy.faults.parties import COORDINATOR, Parties

__all__ = [
    "bad_line",
    "clock_library",
    "expired_certificate",
    "fill",
    "set_clock",
    "small_disk",
    "unplug",
]

_BALLAST = "ballast"
_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long off(void) { const char *v = getenv("CLOCK_OFF_BY"); return v ? atol(v) : 0; }
int clock_gettime(clockid_t id, struct timespec *t) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(id, t);
  if (r == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += off();
  return r;
}
int gettimeofday(struct timeval *t, void *z) {
  int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
  int r = real(t, z);
  if (r == 0 && t) t->tv_sec += off();
  return r;
}
time_t time(time_t *t) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) *t = now.tv_sec;
  return now.tv_sec;
}
"""


def unplug(parties: Parties, party: str, *, again: bool = False) -> None:
    """Takes a machine off the network, or plugs it in again."""
    switch, port = parties.port(party)
    _ip("-n", switch, "link", "set", port, "up" if again else "down")


@contextlib.contextmanager
def bad_line(
    parties: Parties, party: str, *, delay_s: float, loss: float, rate: float, seed: int
) -> Iterator[None]:
    """Puts a bad line between a machine and the switch; see `bad_line.py`.

    Args:
      parties: whose machine.
      party: the machine.
      delay_s: each way.
      loss: probability that a frame is lost.
      rate: bytes a second.
      seed: of what is lost.
    """
    switch, port = parties.port(party)
    outer, inner = f"{port}a", f"{port}b"
    script = [sys.executable, str(Path(__file__).with_name("bad_line.py"))]
    for machine in (party, COORDINATOR):
        words = [*parties.machine(machine), *script, "eth0", "", "0", "0", "0", "0"]
        subprocess.run(words, check=True)
    _ip("-n", switch, "link", "add", outer, "type", "veth", "peer", "name", inner)
    _ip("-n", switch, "link", "set", port, "nomaster")
    _ip("-n", switch, "link", "set", inner, "master", "br0", "up")
    _ip("-n", switch, "link", "set", outer, "up")
    settings = [str(value) for value in (delay_s, loss, rate, seed)]
    command = ["ip", "netns", "exec", switch, *script, port, outer, *settings]
    with subprocess.Popen(command) as carrier:
        try:
            yield
        finally:
            carrier.kill()
            carrier.wait()
            _ip("-n", switch, "link", "del", outer)
            _ip("-n", switch, "link", "set", port, "master", "br0")


def clock_library(folder: Path) -> Path:
    """Compiles what puts the clock of a process wrong (LD_PRELOAD); needs a C compiler."""
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(_CLOCK)
    words = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return library


def set_clock(parties: Parties, party: str, off_by_s: int) -> None:
    """Starts a machine anew with a clock that is wrong by so many seconds."""
    parties.crash(party)
    parties.variables[party] = {}
    if off_by_s:
        library = clock_library(parties.folder)
        parties.variables[party] = {"LD_PRELOAD": str(library), "CLOCK_OFF_BY": str(off_by_s)}
    parties.start(party)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Makes a folder a file system of its own, in memory; what it holds is gone afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none", str(folder)]
    subprocess.run(words, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, again_free: bool = False) -> None:
    """Fills the disk of a folder to its last byte, or makes room again."""
    ballast = folder / _BALLAST
    if again_free:
        ballast.unlink(missing_ok=True)
        return
    with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(1 << 16))
    with ballast.open("ab", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(b"\0")


@contextlib.contextmanager
def _expired() -> Iterator[None]:
    import datetime

    days = mock.patch.object(certificates, "SERVER_DAYS", -1)
    begun = mock.patch.object(certificates, "_BACKDATED", datetime.timedelta(days=3))
    with days, begun:
        yield


def expired_certificate(parties: Parties) -> None:
    """Starts the coordinator anew with a certificate that ended yesterday."""
    parties.crash(COORDINATOR)
    home = CoordinatorHome.open(parties.coordinator)
    with _expired():
        home.issue_certificate(home.settings().host)
    parties.start(COORDINATOR)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, env=dict(os.environ))
