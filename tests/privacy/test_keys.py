"""Keys: what is signed verifies, nothing else does, and key files are private."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedloom.common.errors import ConfigError
from fedloom.privacy.keys import (
    ExchangeKey,
    fingerprint,
    generate_exchange_key,
    generate_key,
    load_exchange_key,
    load_private_key,
    public_key_hex,
    shared_secret,
    sign,
    verify,
)

Make = Callable[[Path], Any]


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


@pytest.mark.parametrize(
    "make, load, make_other, kind",
    [
        (generate_key, load_private_key, generate_exchange_key, "Ed25519"),
        (generate_exchange_key, load_exchange_key, generate_key, "X25519"),
    ],
)
def test_unusable_key_files_are_refused_with_the_remedy(
    tmp_path: Path, make: Make, load: Make, make_other: Make, kind: str
) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError, match="site keygen"):
        load(path)
    make(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load(path)
    path.chmod(0o600)
    path.write_bytes(b"not a key")
    with pytest.raises(ConfigError, match="PEM"):
        load(path)
    make_other(tmp_path / "other.pem")
    with pytest.raises(ConfigError, match=f"{kind} keys"):
        load(tmp_path / "other.pem")
    with pytest.raises(ConfigError, match="cannot write"):
        make(tmp_path / "absent" / "key.pem")


def test_an_exchange_key_comes_back_from_its_file(tmp_path: Path) -> None:
    key = generate_exchange_key(tmp_path / "exchange.pem")
    again = load_exchange_key(tmp_path / "exchange.pem")
    assert public_key_hex(again) == public_key_hex(key)
    assert stat.S_IMODE((tmp_path / "exchange.pem").stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="never overwritten"):
        generate_exchange_key(tmp_path / "exchange.pem")


def test_two_sites_share_a_secret_that_a_third_does_not(tmp_path: Path) -> None:
    a, b, c = (generate_exchange_key(tmp_path / f"{name}.pem") for name in "abc")
    secret = shared_secret(a, public_key_hex(b))
    assert len(secret) == 32 and secret == shared_secret(b, public_key_hex(a))
    assert secret not in (shared_secret(c, public_key_hex(a)), shared_secret(c, public_key_hex(b)))


def test_the_secret_is_that_of_rfc_7748() -> None:
    """Section 6.1: Alice's private key, Bob's public key, their secret."""
    alice = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
    bob = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    key = ExchangeKey.from_private_bytes(bytes.fromhex(alice))
    assert shared_secret(key, bob).hex() == secret


@pytest.mark.parametrize("public", ["", "zz" * 32, "00" * 31, "00" * 32, "01" + "00" * 31, "é"])
def test_keys_with_which_everybody_shares_a_secret_are_refused(tmp_path: Path, public: str) -> None:
    key = generate_exchange_key(tmp_path / "exchange.pem")
    with pytest.raises(ConfigError, match="no usable exchange key"):
        shared_secret(key, public)


def test_fingerprints_are_four_groups_of_four(tmp_path: Path) -> None:
    text = fingerprint(public_key_hex(generate_key(tmp_path / "key.pem")))
    assert [len(group) for group in text.split()] == [4, 4, 4, 4]
