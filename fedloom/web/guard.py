"""What every request passes before a page sees it, so that no page can forget a check.

- The `Host` must be the address that was bound: a foreign name that was made to point here (DNS
  rebinding) gets nothing.
- Without the session's cookie there is one text, the same for every path.
- A change is a POST from a page of ours: `Origin` is this address, and the form holds the
  session's token.
- A body has a largest size and a time in which it must be here.
- Answers forbid scripts, frames and requests that are not the page's own, and are never stored.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from fedloom.common.errors import FedloomError
from fedloom.web.door import COOKIE, Door, Session

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_S = 30.0
_MAX_FIELDS = 100
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not "no-referrer": a form's Origin would then be "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_CLOSED = (
    "This page is closed. Open the link that `fedloom ... web` printed in its terminal; if it was "
    "used, a new one stands there now.\n"
)


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Guard:
    """An ASGI application around the pages.

    Args:
      app: the pages. A request's `state` holds `session` and, of a POST, `form`.
      door: says who may come in.
      hosts: values of `Host` that are this server's.
      max_body_bytes: of a POST.
    """

    def __init__(self, app: App, door: Door, hosts: frozenset[str], *, max_body_bytes: int) -> None:
        self._app, self._door, self._hosts = app, door, hosts
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        headers = _single(scope)
        guarded = _with_headers(send)
        try:
            await self._pass(scope, headers, receive, guarded)
        except _Refused as refused:
            await _say(guarded, refused.status, refused.text)

    async def _pass(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send
    ) -> None:
        method, path = str(scope["method"]), str(scope["path"])
        host = headers.get("host", "")
        if host not in self._hosts:
            raise _Refused(421, "This server is reached by another address.\n")
        if method not in ("GET", "HEAD", "POST"):
            raise _Refused(405, "GET or POST\n")
        if method != "POST" and path == f"{self._door.base}/enter":
            await self._enter(scope, send)
            return
        session = self._session(path, headers)
        if session is None:
            self._door.knock()
            raise _Refused(403, _CLOSED)
        state = scope.setdefault("state", {})
        state["session"] = session
        if method == "POST":
            state["form"] = await self._form(headers, host, session, receive)
        await self._app(scope, receive, send)

    def _session(self, path: str, headers: Mapping[str, str]) -> Session | None:
        if not path.startswith(f"{self._door.base}/"):
            return None
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return None
        if COOKIE not in cookies:
            return None
        asked = not path.startswith(f"{self._door.base}/api/")
        return self._door.session(cookies[COOKIE].value, asked=asked)

    async def _enter(self, scope: Scope, send: Send) -> None:
        given = parse_qs(scope["query_string"].decode("ascii", "replace")).get("token", [""])
        try:
            session = self._door.enter(given[0])
        except FedloomError as error:
            raise _Refused(503, f"{error}\n") from None
        if session is None:
            self._door.knock()
            raise _Refused(403, _CLOSED)
        cookie = f"{COOKIE}={session.cookie}; Path={self._door.base}/; HttpOnly; SameSite=Strict"
        await send(
            {
                "type": "http.response.start",
                "status": 303,
                "headers": [
                    (b"location", f"{self._door.base}/".encode()),
                    (b"set-cookie", cookie.encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    async def _form(
        self, headers: Mapping[str, str], host: str, session: Session, receive: Receive
    ) -> dict[str, list[str]]:
        _check_origin(headers, host)
        kind = headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/x-www-form-urlencoded":
            raise _Refused(415, "A form is expected.\n")
        body = await self._body(receive)
        try:
            form = parse_qs(
                body.decode("ascii"),
                keep_blank_values=True,
                max_num_fields=_MAX_FIELDS,
                errors="strict",
            )
        except ValueError:
            raise _Refused(400, "The form cannot be read.\n") from None
        _check_token(form.pop("form_token", [""])[0], session)
        return form

    async def _body(self, receive: Receive) -> bytes:
        body = b""
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Refused(400, "The form has not come whole.\n")
                    body += bytes(message.get("body", b""))
                    if len(body) > self._max_body_bytes:
                        raise _Refused(413, f"At most {self._max_body_bytes:,} bytes are taken.\n")
                    if not message.get("more_body"):
                        return body
        except TimeoutError:
            raise _Refused(408, "The form has not come in time.\n") from None


def _check_origin(headers: Mapping[str, str], host: str) -> None:
    """Refuses what another site's page sent."""
    same = headers.get("origin") == f"http://{host}"
    if not same or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise _Refused(403, "A change must come from a page of this server.\n")


def _check_token(given: str, session: Session) -> None:
    """Refuses a form that no page of this session showed."""
    if not hmac.compare_digest(given.encode(), session.form_token.encode()):
        raise _Refused(403, "The form is of another session; load the page again.\n")


def _single(scope: Scope) -> dict[str, str]:
    """Returns the headers; one that came twice is as if it had not come."""
    found: dict[str, str] = {}
    twice = set()
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in found:
            twice.add(name)
        found[name] = value.decode("latin-1")
    return {name: value for name, value in found.items() if name not in twice}


def _with_headers(send: Send) -> Send:
    """Adds the headers that an answer does not set itself."""

    async def guarded(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [
                (name.encode(), value.encode())
                for name, value in _HEADERS.items()
                if name.encode() not in there
            ]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return guarded


async def _say(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
