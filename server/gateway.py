"""The one door of a coordinator: institutions reach Flower's Fleet API through it, and no more.

Flower's SuperLink serves three APIs on one port. Two of them are not for institutions: the Control
API has no login, and whoever reaches it runs code on the coordinator's machine. So the SuperLink
listens on the loopback alone, and this gateway stands before it. It ends TLS and makes every
request anew: a method and a path that are not in the list never reach the SuperLink, in whatever
spelling. Who may use the Fleet API is then for the SuperLink to say, by the nodes' keys.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import uvicorn

from fedloom.common.event_log import event
from fedloom.server.connection_limits import ConnectionLimits, LimitedListener, limited_protocol
from fedloom.server.provision.coordinator_home import CoordinatorHome

__all__ = ["Gateway", "is_open", "serve_gateway"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_FLEET = re.compile(r"/v1/fleet/[a-z]+(?:-[a-z]+)*\Z")
# Flower cuts arrays into objects of 5 MB; nothing that a node sends comes near this.
_MAX_BODY_BYTES = 64 << 20
_IDLE_S = 30.0
_REFUSED = "refused-at-gateway"
_NO_ANSWER = "superlink-silent"
_MAX_CONNECTIONS = 512
# Of one connection (RFC 9110, section 7.6.1), and what is made anew.
_NOT_PASSED_ON = {
    b"connection",
    b"host",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}


def is_open(method: str, path: str) -> bool:
    """Tells whether institutions may send such a request.

    >>> is_open("POST", "/v1/fleet/pull-messages"), is_open("GET", "/health")
    (True, True)
    >>> is_open("POST", "/v1/control/start-run"), is_open("POST", "/v1/fleet/../control/x")
    (False, False)
    """
    if method == "POST":
        return _FLEET.match(path) is not None
    return method == "GET" and path == "/health"


class Gateway:
    """An ASGI application that passes on what `is_open` lets through.

    Args:
      superlink: address of the SuperLink, such as https://127.0.0.1:8001.
      trust: what the SuperLink's certificate is held against.
      tell: told, for the operator's log, of every request that was refused and every one that the
        SuperLink did not answer: the event's name and what happened.
    """

    def __init__(
        self, superlink: str, trust: ssl.SSLContext, *, tell: Callable[[str, str], None]
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=superlink,
            verify=trust,
            trust_env=False,
            timeout=httpx.Timeout(60.0, connect=5.0),
            limits=httpx.Limits(max_connections=_MAX_CONNECTIONS),
        )
        self._tell = tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        method, path = str(scope["method"]), str(scope["path"])
        if not is_open(method, path) or scope["query_string"]:
            caller = (scope.get("client") or ("unknown",))[0]
            self._tell(_REFUSED, f"{method} {path[:200]!r} of {caller}")
            await _say(send, 404)
            return
        headers = [(k, v) for k, v in scope["headers"] if k not in _NOT_PASSED_ON]
        length = next((v for k, v in headers if k == b"content-length"), b"0")
        if not length.isdigit() or int(length) > _MAX_BODY_BYTES:
            await _say(send, 413)
            return
        if method == "GET" and int(length):  # its body would not be passed on
            await _say(send, 400)
            return
        request = self._client.build_request(
            method, path, headers=headers, content=_body(receive) if method == "POST" else None
        )
        try:
            answer = await self._client.send(request, stream=True)
        except _TooLarge:
            await _say(send, 413)
        except (TimeoutError, _Gone):
            await _say(send, 408)
        except httpx.LocalProtocolError:  # what the caller sent makes no sound request
            await _say(send, 400)
        except httpx.HTTPError as error:
            self._tell(_NO_ANSWER, type(error).__name__)
            await _say(send, 502)
        else:
            await _pass_on(answer, send)


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    pass


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    """Yields a request's body; ends a caller that sends too much or nothing for a while."""
    total = 0
    while True:
        message = await asyncio.wait_for(receive(), _IDLE_S)
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        total += len(chunk)
        if total > _MAX_BODY_BYTES:
            raise _TooLarge
        if chunk:
            yield chunk
        if not message.get("more_body"):
            return


async def _pass_on(answer: httpx.Response, send: Send) -> None:
    try:
        headers = [(k.lower(), v) for k, v in answer.headers.raw if k.lower() not in _NOT_PASSED_ON]
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        async for chunk in answer.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        await answer.aclose()


async def _say(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def serve_gateway(home: CoordinatorHome) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
      home: whose `coordinator.toml` says where to listen and where the SuperLink is.
    """
    settings = home.settings()
    trust = ssl.create_default_context(cafile=str(home.authority.certificate))
    gateway = Gateway(
        f"https://{settings.superlink}",
        trust,
        tell=lambda name, text: event(name, level="warning", detail=text),
    )
    limits = ConnectionLimits()
    config = uvicorn.Config(
        gateway,
        # Its own loop takes connections by the listener's `accept`; others go round it.
        loop="asyncio",
        ssl_keyfile=str(home.server_key),
        ssl_certfile=str(home.server_certificate),
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=75,
        h11_max_incomplete_event_size=16 << 10,
        http=limited_protocol(limits),
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        date_header=False,
        log_level="warning",
        log_config=None,  # what uvicorn logs goes where events go
    )
    with LimitedListener(
        settings.listen, settings.port, per_address=limits.per_address
    ) as listener:
        uvicorn.Server(config).run(sockets=[listener])
