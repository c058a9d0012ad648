"""Keys: what is signed verifies, nothing else does, and key files are private."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedloom.common.errors import ConfigError
from fedloom.privacy.keys import (
    fingerprint,
    generate_key,
    load_private_key,
    public_key_hex,
    sign,
    verify,
)


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key.pem")
    again = load_private_key(tmp_path / "key.pem")
    assert public_key_hex(again) == public_key_hex(key)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_signatures_bind_key_and_bytes(tmp_path: Path) -> None:
    key, other = generate_key(tmp_path / "a.pem"), generate_key(tmp_path / "b.pem")
    signature = sign(key, b"answer")
    assert verify(public_key_hex(key), b"answer", signature)
    assert not verify(public_key_hex(key), b"answers", signature)
    assert not verify(public_key_hex(other), b"answer", signature)
    assert not verify(public_key_hex(key), b"answer", sign(other, b"answer"))


@pytest.mark.parametrize("public", ["", "zz", "00" * 31, "é"])
def test_malformed_keys_and_signatures_are_not_valid(tmp_path: Path, public: str) -> None:
    key = generate_key(tmp_path / "key.pem")
    assert not verify(public, b"answer", sign(key, b"answer"))
    assert not verify(public_key_hex(key), b"answer", public)
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        fingerprint(public)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = generate_key(tmp_path / "key.pem")
    with pytest.raises(ConfigError, match="never overwritten"):
        generate_key(tmp_path / "key.pem")
    assert public_key_hex(load_private_key(tmp_path / "key.pem")) == public_key_hex(key)


def test_unusable_key_files_are_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError, match="site keygen"):
        load_private_key(path)
    generate_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_private_key(path)
    path.chmod(0o600)
    path.write_bytes(b"not a key")
    with pytest.raises(ConfigError, match="PEM"):
        load_private_key(path)
    path.write_bytes(
        X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(ConfigError, match="Ed25519"):
        load_private_key(path)
    with pytest.raises(ConfigError, match="cannot write"):
        generate_key(tmp_path / "absent" / "key.pem")


def test_fingerprints_are_four_groups_of_four(tmp_path: Path) -> None:
    text = fingerprint(public_key_hex(generate_key(tmp_path / "key.pem")))
    assert [len(group) for group in text.split()] == [4, 4, 4, 4]
