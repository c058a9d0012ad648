"""Callers that say nothing, or go on for ever, before an application that answers at once."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import uvicorn

from fedloom.server.connection_limits import ConnectionLimits, LimitedListener, limited_protocol
from fedloom.server.provision.certificates import (
    Authority,
    issue_server_certificate,
    make_authority,
)

_MOST = 5
_SHORT = ConnectionLimits(header_s=0.3, exchange_s=0.6, per_address=100)


async def read_and_answer(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(http_protocol: object) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            read_and_answer,
            http=http_protocol,
            ws="none",
            lifespan="off",
            log_level="critical",
            limit_concurrency=_MOST,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def health(port: int) -> int | None:
    """Returns the answer's status; None if the connection was cut."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        link.request("GET", "/health", headers={"connection": "close"})
        return link.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        return None
    finally:
        link.close()


def until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


_CALLERS = {
    "silent": b"",
    "half a header": b"POST /x HTTP/1.1\r\nhost: x\r\n",
    "half a body": b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1",
}


@pytest.mark.parametrize("sent", _CALLERS.values(), ids=_CALLERS)
def test_callers_that_do_not_go_on_shut_nobody_out_for_long(sent):
    with serving(limited_protocol(_SHORT)) as port, ExitStack() as callers:
        for _ in range(_MOST):
            caller = callers.enter_context(socket.create_connection(("127.0.0.1", port)))
            caller.sendall(sent)
        assert until(lambda: health(port) == 200)


def test_without_deadlines_silent_callers_shut_all_others_out():
    """The twin: uvicorn's own protocol."""
    with serving("h11") as port, ExitStack() as callers:
        for _ in range(_MOST):
            callers.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert until(lambda: health(port) == 503)
        time.sleep(2 * _SHORT.header_s)
        assert health(port) == 503


def test_one_address_holds_no_more_than_its_part():
    limits = ConnectionLimits(per_address=2)
    with serving(limited_protocol(limits)) as port:
        with ExitStack() as callers:
            for _ in range(2):
                callers.enter_context(socket.create_connection(("127.0.0.1", port)))
            assert until(lambda: health(port) is None)
        assert until(lambda: health(port) == 200)


@contextmanager
def serving_tls(listener: socket.socket, folder: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """Serves by TLS as the gateway does; yields the port and what its certificate is held to."""
    authority = Authority(key=folder / "a.key", certificate=folder / "a.crt")
    make_authority(authority, host="localhost")
    key, chain = folder / "s.key", folder / "s.crt"
    issue_server_certificate(authority, host="localhost", key=key, chain=chain)
    config = uvicorn.Config(
        read_and_answer,
        loop="asyncio",
        http=limited_protocol(_SHORT),
        ws="none",
        lifespan="off",
        log_level="critical",
        timeout_graceful_shutdown=1,
        ssl_keyfile=str(key),
        ssl_certfile=str(chain),
    )
    server = uvicorn.Server(config)
    with listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield port, ssl.create_default_context(cafile=str(authority.certificate))
        finally:
            server.should_exit = True
            thread.join()


def still_open(callers: list[socket.socket]) -> int:
    """Counts the connections that the server has not closed."""
    count = 0
    for caller in callers:
        caller.setblocking(False)
        try:
            count += caller.recv(1) != b""
        except BlockingIOError:
            count += 1
        except ConnectionError:
            pass
    return count


@pytest.mark.parametrize("limited", [True, False], ids=["limited", "the twin: a plain listener"])
def test_callers_that_begin_no_handshake_count_too(tmp_path, limited):
    listener = (
        LimitedListener("127.0.0.1", 0, per_address=3)
        if limited
        else socket.create_server(("127.0.0.1", 0))
    )
    with serving_tls(listener, tmp_path) as (port, trust), ExitStack() as held:
        callers = [
            held.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(20)
        ]
        if limited:
            assert until(lambda: still_open(callers) == 3)
        else:
            time.sleep(1.0)
            assert still_open(callers) == 20
        link = http.client.HTTPSConnection(
            "localhost", port, timeout=10, context=trust, source_address=("127.0.0.2", 0)
        )
        link.request("GET", "/health")
        assert link.getresponse().status == 200
        link.close()
        held.close()
        assert until(lambda: health_tls(port, trust) == 200)  # what was held is free again


def health_tls(port: int, trust: ssl.SSLContext) -> int | None:
    link = http.client.HTTPSConnection("localhost", port, timeout=10, context=trust)
    try:
        link.request("GET", "/health", headers={"connection": "close"})
        return link.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def test_a_connection_goes_on_after_more_than_one_header_s_time():
    with serving(limited_protocol(_SHORT)) as port:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):
            link.request("POST", "/x", body=b"abc")
            assert link.getresponse().read() == b"" and link.sock is not None
            time.sleep(2 * _SHORT.header_s)
        link.close()
