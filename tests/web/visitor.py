"""A browser without a screen: follows the link, keeps the cookie, sends the forms of pages."""

from __future__ import annotations

import asyncio
import html
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from fedloom.client.home import Home
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.web.coordinator_app import CoordinatorPages
from fedloom.web.door import COOKIE, Door
from fedloom.web.guard import Guard
from fedloom.web.serve import guarded
from fedloom.web.site_app import SitePages

HOST, PORT = "127.0.0.1", 8620
ORIGIN = f"http://{HOST}:{PORT}"
MAX_BODY_BYTES = 1 << 20


class Client:
    """Sends requests to an application, and keeps the cookies."""

    def __init__(self, app: Any, origin: str) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=origin, follow_redirects=True
        )
        self.cookies = self._client.cookies

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        return asyncio.run(self._client.request(method, path, **more))

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


class Visitor:
    """Somebody at the terminal that serves pages, with a browser."""

    def __init__(
        self,
        pages: Callable[[Door], ASGIApp],
        *,
        clock: Callable[[], float] = lambda: 0.0,
        port: int = PORT,
    ) -> None:
        self.origin = f"http://{HOST}:{port}"
        self.links: list[str] = []
        self.door = Door(self.links.append, clock=clock)
        self.door.knock()
        self.guard: Guard = guarded(
            pages, self.door, host=HOST, port=port, max_body_bytes=MAX_BODY_BYTES
        )
        self.client = Client(self.guard, self.origin)

    def enter(self) -> httpx.Response:
        """Follows the newest link."""
        return self.client.get(self.links[-1])

    def get(self, path: str = "", **more: Any) -> httpx.Response:
        return self.client.get(f"{self.door.base}/{path}", **more)

    def post(self, path: str, **form: Any) -> httpx.Response:
        """Sends a form as a page of this server would."""
        form_token = self.form_token()
        return self.client.post(
            f"{self.door.base}/{path}",
            data={"form_token": form_token, **form},
            headers={"origin": self.origin},
        )

    def form_token(self) -> str:
        """The token that the forms of the first page hold."""
        found = re.search(r'name="form_token" value="([^"]+)"', self.get().text)
        assert found is not None
        return found[1]

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serves the pages on their port."""
        port = int(self.origin.rpartition(":")[2])
        config = uvicorn.Config(
            self.guard, host=HOST, port=port, lifespan="off", ws="none", log_level="warning"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        try:
            yield
        finally:
            server.should_exit = True
            thread.join(20)

    @property
    def cookie(self) -> str | None:
        return self.client.cookies.get(COOKIE)


def steward(home: Path, *, port: int = PORT) -> Visitor:
    """Makes the page of a home."""
    return Visitor(lambda door: SitePages(Home.open(home), door).app(), port=port)


def coordinator(home: Path, *, port: int = PORT) -> Visitor:
    """Makes the page of a coordinator's home."""
    opened = CoordinatorHome.open(home)
    return Visitor(lambda door: CoordinatorPages(opened, door).app(), port=port)


def free_port() -> int:
    """Returns a port that nobody uses just now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def words(page: str) -> str:
    """The text of a page, spaces as people see them."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))
