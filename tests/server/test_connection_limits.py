"""Callers that say nothing, or go on for ever, before an application that answers at once."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn

from fedloom.server.connection_limits import ConnectionLimits, limited_protocol

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


def test_a_connection_goes_on_after_more_than_one_header_s_time():
    with serving(limited_protocol(_SHORT)) as port:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):
            link.request("POST", "/x", body=b"abc")
            assert link.getresponse().read() == b"" and link.sock is not None
            time.sleep(2 * _SHORT.header_s)
        link.close()
