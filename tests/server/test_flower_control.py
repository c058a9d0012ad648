"""What a coordinator is told when its own SuperLink cannot be reached."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fedloom.client.flower_environment import free_port
from fedloom.common.errors import IncompleteError
from fedloom.server.flower_control import FlowerControl
from fedloom.server.provision import certificates
from fedloom.server.provision.certificates import (
    Authority,
    issue_server_certificate,
    make_authority,
)


@pytest.fixture
def expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """A server whose certificate ended yesterday: its address, and the authority."""
    authority = Authority(key=tmp_path / "a.key", certificate=tmp_path / "a.crt")
    make_authority(authority, host="localhost")
    monkeypatch.setattr(certificates, "SERVER_DAYS", -1)
    monkeypatch.setattr(certificates, "_BACKDATED", datetime.timedelta(days=3))
    key, chain = tmp_path / "s.key", tmp_path / "s.crt"
    issue_server_certificate(authority, host="localhost", key=key, chain=chain)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"localhost:{server.server_address[1]}", authority.certificate
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_has_ended_is_named_with_its_remedy(expired):
    with FlowerControl(*expired) as control:
        assert not control.healthy()
        with pytest.raises(IncompleteError, match="expired.*`fedloom coordinator renew`"):
            control.nodes()
        with pytest.raises(IncompleteError, match="`fedloom coordinator renew`"):
            control.check_certificate()


def test_a_superlink_that_is_down_is_to_be_started():
    with FlowerControl(f"127.0.0.1:{free_port()}", None) as control:
        with pytest.raises(IncompleteError, match="`fedloom coordinator up`"):
            control.nodes()
        control.check_certificate()
