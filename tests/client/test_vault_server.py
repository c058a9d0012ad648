from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from fedloom.client.link import VaultUnavailableError, connect
from fedloom.client.link.chunks import METHOD, SERVICE
from fedloom.client.link.sockets import is_served
from fedloom.client.vault_server import VaultServer
from fedloom.common.errors import HomeInUseError
from fedloom.common.protocol.vault_pb2 import Chunk

REPOSITORY = Path(__file__).resolve().parents[2]


class Echo:
    """Answers with what it is asked; keeps count of callers that are in at the same time.

    Args:
      pause_s: how long it works on a request.
      gate: it works on each request until this is set.
    """

    most = 10_000_000

    def __init__(self, pause_s: float = 0.0, gate: threading.Event | None = None) -> None:
        self.pause_s = pause_s
        self.gate = gate
        self.begun = threading.Event()
        self.came = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0
        self.handled = 0

    def largest_request(self) -> int:
        self.came.release()
        return self.most

    def handle(self, data: bytes) -> bytes:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.begun.set()
        time.sleep(self.pause_s)
        if self.gate is not None:
            self.gate.wait(30)
        self.inside -= 1
        self.handled += 1
        return data


class Failing:
    def largest_request(self) -> int:
        return 1000

    def handle(self, data: bytes) -> bytes:
        raise ValueError("record 17 has age ninety-three")


@pytest.fixture
def socket_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("v")
    folder.chmod(0o700)
    return folder / "v.sock"


@pytest.mark.parametrize("size", [0, 1, 5_000_001])
def test_an_answer_comes_back_whole_also_beyond_grpcs_own_limit_of_four_megabytes(
    socket_path, size
):
    data = os.urandom(size)
    with VaultServer(Echo(), socket_path) as server:
        assert socket_path.stat().st_mode & 0o777 == 0o600
        assert connect(server.address, timeout_s=10).handle(data) == data
    assert not socket_path.exists()


def test_requests_reach_the_vault_one_at_a_time(socket_path):
    echo = Echo(pause_s=0.05)
    with VaultServer(echo, socket_path) as server:
        threads = [
            threading.Thread(target=connect(server.address).handle, args=(b"x",)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (echo.handled, echo.most_inside) == (4, 1)


def test_a_failure_tells_the_caller_a_status_and_no_text(socket_path, caplog, capsys):
    with VaultServer(Failing(), socket_path) as server:
        connection = connect(server.address, timeout_s=5)
        with pytest.raises(VaultUnavailableError, match="INTERNAL") as caught:
            connection.handle(b"x")
        channel = grpc.insecure_channel(server.address)
        call = channel.stream_stream("/fedloom.vault.v1.Vault/Handle")
        with pytest.raises(grpc.RpcError) as raw:
            list(call(iter([b""])))
        channel.close()
    assert "ninety-three" not in str(caught.value)
    assert raw.value.details() == ""
    # A log may be sent elsewhere: it has the kind of error alone. A vault puts the text into the
    # home's private log before this server sees it.
    logged = caplog.text + capsys.readouterr().err
    assert "request-failed" in logged and "record 17" not in logged


# Takes a request and is killed in the middle of it.
_KILLED = """
import os, sys
from pathlib import Path
from fedloom.client.vault_server import VaultServer
class Killed:
    def largest_request(self):
        return 1000
    def handle(self, data):
        os.kill(os.getpid(), 9)
with VaultServer(Killed(), Path(sys.argv[1])):
    print("serving", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_vault_that_is_started_again_is_waited_for_and_asked_again(socket_path, moment):
    answers: list[bytes] = []
    connection = connect(f"unix:{socket_path}", timeout_s=60, patience_s=60)
    asking = threading.Thread(target=lambda: answers.append(connection.handle(b"x")))
    if moment == "during":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        words = [sys.executable, "-c", _KILLED, str(socket_path)]
        with subprocess.Popen(words, **pipes) as killed:
            assert killed.stdout is not None and killed.stdout.readline()
            asking.start()
            assert killed.wait(timeout=30) == -signal.SIGKILL
    else:
        asking.start()
        time.sleep(0.2)
    with VaultServer(Echo(), socket_path):
        asking.join(timeout=60)
    assert answers == [b"x"]


def test_a_caller_does_not_wait_longer_than_it_said(socket_path):
    echo = Echo(gate=threading.Event())
    with VaultServer(echo, socket_path) as server:
        with pytest.raises(VaultUnavailableError, match="DEADLINE_EXCEEDED"):
            connect(server.address, timeout_s=0.2).handle(b"x")
        assert echo.handled == 0  # the vault is still at work
        echo.gate.set()


def test_a_request_that_was_given_up_before_its_turn_is_dropped(socket_path):
    echo = Echo(gate=threading.Event())
    with VaultServer(echo, socket_path) as server:
        first = threading.Thread(target=connect(server.address).handle, args=(b"x",))
        first.start()
        assert echo.begun.wait(30)
        with pytest.raises(VaultUnavailableError, match="DEADLINE_EXCEEDED"):
            connect(server.address, timeout_s=0.2).handle(b"y")
        echo.gate.set()
        first.join()
        assert connect(server.address).handle(b"z") == b"z"
        time.sleep(0.1)  # so that a vault that did not drop it would be caught
    assert echo.handled == 2


def test_a_request_that_is_too_large_is_not_read_to_its_end(socket_path):
    """The caller would go on for ever; a server without the limit would gather all of it."""
    echo, sent = Echo(), []
    echo.most = 3_000_000

    def endless():
        while True:
            sent.append(1)
            yield Chunk(data=b"x" * 1_000_000)

    with VaultServer(echo, socket_path) as server, raw_call(server.address) as call:
        with pytest.raises(grpc.RpcError) as caught:
            list(call(endless()))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert echo.handled == 0 and len(sent) < 100
        assert connect(server.address, timeout_s=10).handle(b"x") == b"x"


@pytest.mark.parametrize("how", ["sends nothing", "stops in the middle", "takes nothing"])
def test_callers_that_idle_do_not_keep_others_out(socket_path, how):
    """More of them than the server has places, and none ever ends by itself."""
    end = threading.Event()

    def idle():
        if how == "stops in the middle":
            yield Chunk(data=b"x" * 1_000_000)
        if how == "takes nothing":
            yield from (Chunk(data=b"x" * 1_000_000) for _ in range(9))
        else:
            end.wait()

    with VaultServer(Echo(), socket_path, idle_s=0.3) as server, raw_call(server.address) as call:
        calls = [call(idle()) for _ in range(6)]
        assert connect(server.address, timeout_s=60).handle(b"x") == b"x"
        end.set()
        for one in calls:
            one.cancel()


def test_without_that_limit_four_idle_callers_would_keep_everybody_out(socket_path):
    end = threading.Event()

    def idle():
        end.wait()
        yield from ()

    echo = Echo()
    with VaultServer(echo, socket_path, idle_s=600) as server, raw_call(server.address) as call:
        calls = [call(idle()) for _ in range(4)]
        assert all(echo.came.acquire(timeout=30) for _ in calls)
        with pytest.raises(VaultUnavailableError, match="DEADLINE_EXCEEDED"):
            connect(server.address, timeout_s=1).handle(b"x")
        end.set()
        for one in calls:
            one.cancel()


def test_no_vault_is_unavailable_and_not_a_time_out(socket_path):
    with pytest.raises(VaultUnavailableError, match="UNAVAILABLE"):
        connect(f"unix:{socket_path}", timeout_s=30).handle(b"x")


def test_a_second_server_is_refused_and_a_dead_ones_socket_is_replaced(socket_path):
    with VaultServer(Echo(), socket_path), pytest.raises(HomeInUseError, match="already"):
        VaultServer(Echo(), socket_path)
    socket_path.touch()
    with VaultServer(Echo(), socket_path) as server:
        assert connect(server.address).handle(b"x") == b"x"


@contextlib.contextmanager
def raw_call(address: str):
    """The method that a `Connection` calls, for callers that do not keep to its ways."""
    with grpc.insecure_channel(address) as channel:
        yield channel.stream_stream(
            f"/{SERVICE}/{METHOD}",
            request_serializer=Chunk.SerializeToString,
            response_deserializer=Chunk.FromString,
        )


_PROGRAM = """
import sys, time
from pathlib import Path
from fedloom.client.vault_server import serve_until_stopped
class Slow:
    def largest_request(self):
        return 1000
    def handle(self, data):
        print("begun", flush=True)
        time.sleep(1)
        return data
serve_until_stopped(Slow(), Path(sys.argv[1]), ready=lambda address: print(address, flush=True))
print("closed", flush=True)
"""


def test_sigterm_lets_the_request_at_work_end_and_the_owner_close(socket_path):
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(socket_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(connect(address).handle(b"x")))
    asking.start()
    assert process.stdout.readline().strip() == "begun"
    process.send_signal(signal.SIGTERM)
    asking.join(timeout=10)
    assert process.wait(timeout=10) == 0
    assert answers == [b"x"]
    with process.stdout:
        assert process.stdout.read().strip() == "closed"
    assert not is_served(socket_path)
