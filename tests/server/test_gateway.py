"""The gateway before a stand-in for Flower's SuperLink that notes all that reaches it."""

from __future__ import annotations

import asyncio
import http.client
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn

from fedloom.server.connection_limits import ConnectionLimits, limited_protocol
from fedloom.server.gateway import Gateway, is_open
from fedloom.server.provision.coordinator_home import CoordinatorHome, CoordinatorSettings

flower = pytest.importorskip("flwr.supercore.protobuf.translation")


def test_every_path_of_the_fleet_api_is_open_and_no_other_path_of_flower_is():
    from flwr.superlink.routers.control import router as control
    from flwr.superlink.routers.fleet.router import router as fleet

    routes = {(m, r.path) for router in (control, fleet) for r in router.routes for m in r.methods}
    routes |= set(flower.PROTOBUF_REQUEST_TYPES)
    routes |= {("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/redoc"), ("GET", "/")}
    opened = {route for route in routes if is_open(*route)}
    assert opened == {route for route in routes if route[1].startswith("/v1/fleet/")}
    assert len(opened) >= 12 and len(routes - opened) > 40


@dataclass
class Served:
    """A gateway, and what came through it."""

    home: CoordinatorHome
    port: int
    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        trust = ssl.create_default_context(cafile=str(self.home.authority.certificate))
        link = http.client.HTTPSConnection("127.0.0.1", self.port, context=trust, timeout=10)
        # Sent as it is: the client would refuse or mend some of these paths.
        link.putrequest(method, path, skip_accept_encoding=True)
        link.putheader("content-length", str(len(body)))
        link.putheader("x-kept", "yes")
        link.endheaders(body)
        answer = link.getresponse()
        told = (answer.status, answer.read())
        link.close()
        return told


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        port, behind = one.getsockname()[1], two.getsockname()[1]
    path = tmp_path_factory.mktemp("gateway") / "c"
    settings = CoordinatorSettings(host="localhost", port=port, superlink_port=behind)
    home = CoordinatorHome.create(path, settings)
    served = Served(home=home, port=port)

    class SuperLink(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            served.seen.append((self.command, self.path, body))
            text = f"{self.headers['x-kept']} {len(body)}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", behind), SuperLink)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home.server_certificate, home.server_key)
    upstream.socket = context.wrap_socket(upstream.socket, server_side=True)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    trust = ssl.create_default_context(cafile=str(home.authority.certificate))
    gateway = Gateway(
        f"https://127.0.0.1:{behind}", trust, tell=lambda *said: served.told.append(said)
    )
    server = uvicorn.Server(
        uvicorn.Config(
            gateway,
            host="127.0.0.1",
            port=port,
            ssl_certfile=str(home.server_certificate),
            ssl_keyfile=str(home.server_key),
            http=limited_protocol(ConnectionLimits()),
            ws="none",
            lifespan="off",
            log_level="error",
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield served
    server.should_exit = True
    thread.join()
    upstream.shutdown()
    upstream.server_close()


def test_what_nodes_need_comes_through_whole(served):
    body = bytes(range(256)) * 5000
    assert served.ask("POST", "/v1/fleet/push-object", body) == (200, b"yes 1280000")
    assert served.seen[-1] == ("POST", "/v1/fleet/push-object", body)
    assert served.ask("GET", "/health") == (200, b"yes 0")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/runtime/acquire-task"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/v1/fleet/pull-messages"),
        ("POST", "/health"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "/v1/fleet/%2E%2E%2Fcontrol%2Fstart-run"),
        ("POST", "/v1/fleet/pull-messages/../../control/start-run"),
        ("POST", "//v1/control/start-run"),
        ("POST", "/v1//fleet/pull-messages"),
        ("POST", "/v1/fleet/pull-messages/"),
        ("POST", "/v1/fleet/pull-messages%0a"),
        ("POST", "/v1/fleet/pull-messages%00"),
        ("POST", "/v1/fleet/pull-messages?x=/v1/control/start-run"),
        ("POST", "/V1/FLEET/pull-messages"),
        ("POST", "https://127.0.0.1/v1/control/start-run"),
        ("CONNECT", "/v1/fleet/pull-messages"),
    ],
)
def test_whatever_else_is_asked_never_reaches_the_superlink(served, method, path):
    before, told = len(served.seen), len(served.told)
    status, body = served.ask(method, path)
    assert (status, body) in {(404, b""), (400, b"Invalid HTTP request received.")}
    assert len(served.seen) == before
    assert len(served.told) == told + (status == 404)
    assert all(name == "refused-at-gateway" for name, _ in served.told)


def test_a_body_beyond_all_that_a_node_sends_is_refused_before_it_is_read(served):
    before = len(served.seen)
    trust = ssl.create_default_context(cafile=str(served.home.authority.certificate))
    link = http.client.HTTPSConnection("127.0.0.1", served.port, context=trust, timeout=10)
    link.putrequest("POST", "/v1/fleet/push-object")
    link.putheader("content-length", str(1 << 32))
    link.endheaders()
    assert link.getresponse().status == 413
    link.close()
    assert len(served.seen) == before


def test_a_callers_own_mistake_is_not_told_as_the_superlinks(served):
    before, told = len(served.seen), len(served.told)
    assert served.ask("GET", "/health", b"a body that is not passed on")[0] == 400
    assert (len(served.seen), len(served.told)) == (before, told)


def test_a_superlink_that_is_away_is_told_by_another_name_than_a_refusal(served):
    said: list[tuple[str, str]] = []
    with socket.socket() as nobody:  # bound and not listening
        nobody.bind(("127.0.0.1", 0))
        trust = ssl.create_default_context(cafile=str(served.home.authority.certificate))
        address = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        gateway = Gateway(address, trust, tell=lambda *told: said.append(told))
        answers: list[dict[str, object]] = []

        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        async def send(message: dict[str, object]) -> None:
            answers.append(message)

        scope = {"type": "http", "method": "GET", "path": "/health"}
        asyncio.run(gateway({**scope, "query_string": b"", "headers": []}, receive, send))
    assert answers[0]["status"] == 502
    assert said == [("superlink-silent", "ConnectError")]


def test_a_caller_that_trusts_another_authority_ends_at_the_door(served, tmp_path):
    settings = CoordinatorSettings(host="localhost", port=1, superlink_port=2)
    other = CoordinatorHome.create(tmp_path / "other", settings)
    stranger = Served(home=other, port=served.port)
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.ask("GET", "/health")


def test_a_home_of_a_coordinator_is_for_its_owner_and_made_once(tmp_path: Path):
    from fedloom.common.errors import ConfigError

    settings = CoordinatorSettings(host="fed.example.org", port=443, superlink_port=444)
    home = CoordinatorHome.create(tmp_path / "c", settings)
    assert home.path.stat().st_mode & 0o777 == 0o700
    secret = (home.key_path, home.authority.key, home.server_key, home.secret_path)
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert CoordinatorHome.open(home.path).settings() == settings
    with pytest.raises(ConfigError):
        CoordinatorHome.create(tmp_path / "c", settings)
