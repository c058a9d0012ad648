"""Whether a site's node would get through the coordinator's door, step by step, changing nothing.

Name, port, certificate, clock, and whether the node's key is registered. The last asks Flower to
activate the node with a heartbeat that Flower never takes: its refusal tells whether it knows the
key, and a node that runs meanwhile is not disturbed.
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedloom.client.finding import Finding
from fedloom.common.errors import ConfigError
from fedloom.privacy.certificate import WARN_DAYS, days_left, end_of
from fedloom.privacy.node_key import load_node_key, node_key_hex, node_key_pem

__all__ = ["check_door"]

_WITHIN_S = 10.0
# Flower takes a node's signature of up to five minutes ago, and five seconds ahead.
_MOST_BEHIND_S = 240.0
_MOST_AHEAD_S = 4.0
_NOT_KNOWN, _KNOWN = 2004, 2003


def check_door(address: str, *, authority: Path, node_key: Path) -> Iterator[Finding]:
    """Yields a finding for each step; the first that fails is the last.

    Args:
      address: HOST:PORT of the coordinator.
      authority: Certificate of the authority behind its server.
      node_key: The node's private key.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        remedy = "ask the coordinator for its name, or have this machine's administrator resolve it"
        yield Finding("name", f"{host} has no address", remedy)
        return
    yield Finding("name", f"{host} is {found[0][4][0]}")
    try:
        socket.create_connection((host, int(port)), timeout=_WITHIN_S).close()
    except OSError as error:
        remedy = "have the coordinator run `fedloom coordinator up`, and the firewall let TCP out"
        yield Finding("port", f"{address} does not answer: {error}", remedy)
        return
    yield Finding("port", f"{address} answers")
    yield _authority(authority)
    trust = ssl.create_default_context(cafile=str(authority))
    link = http.client.HTTPSConnection(host, int(port), context=trust, timeout=_WITHIN_S)
    try:
        yield from _through_tls(link, node_key)
    except ssl.SSLCertVerificationError as error:
        remedy = "join with the coordinator's newest kit; if it is that, somebody stands between"
        yield Finding("certificate", f"not believed: {error.verify_message}", remedy)
    except (OSError, http.client.HTTPException) as error:
        remedy = "have the coordinator see `fedloom coordinator status`"
        yield Finding("coordinator", f"no answer: {type(error).__name__}", remedy)
    finally:
        link.close()


def _through_tls(link: http.client.HTTPSConnection, node_key: Path) -> Iterator[Finding]:
    link.connect()
    assert isinstance(link.sock, ssl.SSLSocket)
    ends = str((link.sock.getpeercert() or {}).get("notAfter", ""))
    seconds = ssl.cert_time_to_seconds(ends)
    left = days_left(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    soon = f"it ends in {left} days; have the coordinator run `fedloom coordinator renew`"
    warning = soon if left < WARN_DAYS else ""
    yield Finding("certificate", f"believed; valid until {ends}", warning=warning)
    link.request("GET", "/health")
    answer = link.getresponse()
    answer.read()
    yield _clock(answer.getheader("date"))
    try:
        key = load_node_key(node_key)
    except ConfigError as error:
        yield Finding("node key", str(error), "run `fedloom site keygen`, and send a new card")
        return
    link.request("POST", "/v1/fleet/activate-node", *_probe(key))
    answer = link.getresponse()
    yield _registered(answer.status, answer.read())


def _authority(path: Path) -> Finding:
    """Whether the authority's certificate, which this site was given in its kit, ends soon."""
    end = end_of(path.read_bytes())
    left, detail = days_left(end), f"valid until {end:%Y-%m-%d}"
    if left < 0:
        return Finding("authority", detail, "join with the kit that the coordinator sends anew")
    if left < WARN_DAYS:
        soon = f"it ends in {left} days; ask the coordinator, who runs `fedloom coordinator renew "
        return Finding("authority", detail, warning=f"{soon}--authority`, for a new kit")
    return Finding("authority", detail)


def _clock(date: str | None) -> Finding:
    if date is None:
        return Finding("clock", "the coordinator does not say its time: not compared")
    try:
        there = email.utils.parsedate_to_datetime(date).astimezone(datetime.UTC)
    except ValueError:
        return Finding("clock", "the coordinator's time cannot be read: not compared")
    ahead = (datetime.datetime.now(datetime.UTC) - there).total_seconds()
    said = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    if -_MOST_BEHIND_S < ahead < _MOST_AHEAD_S + 1.0:  # the header has whole seconds
        return Finding("clock", said)
    return Finding("clock", said, "set the clock, by NTP for instance; Flower refuses the node")


def _probe(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, dict[str, str]]:
    """Returns body and headers of a signed request that Flower refuses in any case."""
    public = node_key_pem(node_key_hex(key))
    stamp = datetime.datetime.now(datetime.UTC).isoformat()
    signature = key.sign(stamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
    # Protobuf: field 1, the key; field 2, the interval, is left out, which means 0.
    size = len(public)
    varint = bytes([size & 0x7F | 0x80, size >> 7]) if size > 0x7F else bytes([size])
    headers = {
        "content-type": "application/protobuf",
        "flwr-public-key": base64.b64encode(public).decode("ascii"),
        "flwr-timestamp": stamp,
        "flwr-signature": base64.b64encode(signature).decode("ascii"),
    }
    return b"\x0a" + varint + public, headers


def _registered(status: int, body: bytes) -> Finding:
    try:
        code = json.loads(body)["code"]
    except (ValueError, KeyError, TypeError):
        code = None
    if code == _KNOWN:
        return Finding("node key", "registered")
    if code == _NOT_KNOWN:
        remedy = "send what `fedloom site card` writes; the coordinator runs `coordinator invite`"
        return Finding("node key", "not registered", remedy)
    remedy = "compare the clocks; have the coordinator see logs/superlink.log"
    return Finding("node key", f"refused with status {status}, code {code}", remedy)
