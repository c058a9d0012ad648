"""Gives metrics out: at a port of the loopback, and as a text file for the node exporter.

Only programs of this machine reach the port. A request whose `Host` is another name is refused, so
that no web page which a browser on this machine shows can read it through a name of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from fedloom.common.errors import ConfigError, FedloomError
from fedloom.common.files import replacing
from fedloom.monitoring.health import Health

__all__ = ["Exporter", "exposition", "write_text_file"]

_LOOPBACK = "127.0.0.1"
_HOSTS = {_LOOPBACK, "localhost"}
_IDLE_S = 10.0


def exposition(collector: Collector) -> bytes:
    """Returns metrics in Prometheus' text format."""
    return generate_latest(collector)


def write_text_file(collector: Collector, path: Path) -> None:
    """Replaces the text file that the node exporter collects, whole or not at all.

    It is for its owner and for the group of its folder.

    Raises:
      ConfigError: its name does not end in `.prom`, which the node exporter looks for.
    """
    if path.suffix != ".prom":
        raise ConfigError(f"{path} must end in .prom; the node exporter reads no other file")
    text = exposition(collector)
    with replacing(path) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o640)
            with contextlib.suppress(PermissionError):  # then the group is this process's
                os.fchown(descriptor, -1, path.parent.stat().st_gid)


class Exporter:
    """Serves `/metrics` and `/health` on the loopback, from construction until `stop`.

    Args:
      collector: of what is served.
      health: tells whether it is ready: 200, or 503 with the reasons.
      port: 0 for a free one.

    Raises:
      ConfigError: the port is taken.
    """

    def __init__(self, collector: Collector, health: Callable[[], Health], *, port: int) -> None:
        try:
            self._server = _Server((_LOOPBACK, port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"port {port} of the loopback cannot be used: {error.strerror}; choose another "
                "port in [monitoring]"
            ) from error
        self._server.collector, self._server.health = collector, health
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    collector: Collector
    health: Callable[[], Health]
    one_at_a_time = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _IDLE_S
    server_version = "fedloom"
    sys_version = ""

    def do_GET(self) -> None:
        """Answers; the text of an error stays here."""
        if self.headers.get("Host", "").rpartition(":")[0] not in _HOSTS:
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"", "text/plain")
            return
        try:
            with self.server.one_at_a_time:
                status, body, kind = self._found()
        except (FedloomError, OSError) as error:
            status, kind = HTTPStatus.SERVICE_UNAVAILABLE, "text/plain"
            body = f"{type(error).__name__}\n".encode()
        self._answer(status, body, kind)

    def _found(self) -> tuple[HTTPStatus, bytes, str]:
        if self.path == "/metrics":
            return HTTPStatus.OK, exposition(self.server.collector), CONTENT_TYPE_LATEST
        if self.path != "/health":
            return HTTPStatus.NOT_FOUND, b"", "text/plain"
        health = self.server.health()
        status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps({"ready": health.ready, "reasons": health.reasons}).encode()
        return status, body, "application/json"

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: a look every few seconds would fill the log."""
