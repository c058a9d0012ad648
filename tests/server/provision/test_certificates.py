"""Certificates as a TLS client of Python's own library takes or refuses them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from fedloom.common.errors import ConfigError
from fedloom.privacy.certificate import authority_key, days_left, end_of
from fedloom.server.provision import certificates
from fedloom.server.provision.certificates import (
    Authority,
    certificate_fingerprint,
    issue_server_certificate,
    make_authority,
    renew_authority,
)


def authority(folder: Path) -> Authority:
    folder.mkdir()
    made = Authority(key=folder / "authority.key", certificate=folder / "authority.crt")
    make_authority(made, host="fed.example.org")
    return made


def handshake(trusted: Path, certificate: Path, key: Path, name: str) -> None:
    """Carries a handshake out in memory; raises what the client raises."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(trusted))
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    here = client.wrap_bio(pipes[0], pipes[1], server_hostname=name)
    there = server.wrap_bio(pipes[1], pipes[0], server_side=True)
    for _ in range(4):
        for end in (here, there):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize("host", ["fed.example.org", "192.0.2.7", "2001:db8::7"])
def test_a_server_is_known_by_its_name_and_on_the_loopback(tmp_path, host):
    made = authority(tmp_path / "a")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(made, host=host, key=key, chain=chain)
    for name in (host, "localhost", "127.0.0.1"):
        handshake(made.certificate, chain, key, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made.certificate, chain, key, "other.example.org")


def test_a_certificate_of_another_authority_of_the_same_name_is_refused(tmp_path):
    made, other = authority(tmp_path / "a"), authority(tmp_path / "b")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(other, host="fed.example.org", key=key, chain=chain)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made.certificate, chain, key, "fed.example.org")


def test_a_server_cannot_issue_certificates(tmp_path):
    made = authority(tmp_path / "a")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(made, host="fed.example.org", key=key, chain=chain)
    bad_key, bad_chain = tmp_path / "bad.key", tmp_path / "bad.crt"
    issue_server_certificate(
        Authority(key=key, certificate=chain), host="evil.example.org", key=bad_key, chain=bad_chain
    )
    bad_chain.write_bytes(bad_chain.read_bytes() + chain.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(made.certificate, bad_chain, bad_key, "evil.example.org")


def test_a_new_certificate_takes_the_place_of_the_old_one_under_the_same_authority(tmp_path):
    made = authority(tmp_path / "a")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(made, host="old.example.org", key=key, chain=chain)
    issue_server_certificate(made, host="new.example.org", key=key, chain=chain)
    handshake(made.certificate, chain, key, "new.example.org")


def test_keys_are_for_their_owner_and_an_authority_is_never_overwritten(tmp_path):
    made = authority(tmp_path / "a")
    key = tmp_path / "server.key"
    issue_server_certificate(made, host="fed.example.org", key=key, chain=tmp_path / "server.crt")
    assert {path.stat().st_mode & 0o777 for path in (made.key, key)} == {0o600}
    with pytest.raises(ConfigError):
        make_authority(made, host="fed.example.org")


def test_a_fingerprint_is_that_of_the_whole_certificate(tmp_path):
    pem = authority(tmp_path / "a").certificate.read_bytes()
    assert len(certificate_fingerprint(pem).replace(" ", "")) == 64
    with pytest.raises(ConfigError):
        certificate_fingerprint(b"no certificate")


def test_a_server_s_certificate_ends_no_later_than_its_authority_s(tmp_path, monkeypatch):
    monkeypatch.setattr(certificates, "AUTHORITY_DAYS", 100)
    made = authority(tmp_path / "a")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(made, host="fed.example.org", key=key, chain=chain)
    assert end_of(chain.read_bytes()) == end_of(made.certificate.read_bytes())
    assert days_left(end_of(chain.read_bytes())) == 99


def test_old_and_new_certificates_of_a_renewed_authority_are_believed_alike(tmp_path):
    made = authority(tmp_path / "a")
    key, chain = tmp_path / "server.key", tmp_path / "server.crt"
    issue_server_certificate(made, host="fed.example.org", key=key, chain=chain)
    before = tmp_path / "before.crt"
    before.write_bytes(made.certificate.read_bytes())
    renew_authority(made)
    assert before.read_bytes() != made.certificate.read_bytes()
    assert authority_key(before.read_bytes()) == authority_key(made.certificate.read_bytes())
    handshake(made.certificate, chain, key, "fed.example.org")
    issue_server_certificate(made, host="fed.example.org", key=key, chain=chain)
    handshake(before, chain, key, "fed.example.org")
    with pytest.raises(ConfigError):
        authority_key(chain.read_bytes())
