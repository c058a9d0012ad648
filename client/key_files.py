"""The files of a site's keys while they change: the old ones stay until the ledger names the new.

    key.pem.next, exchange.pem.next, node.pem.next   new keys, until they are in their place
    rotation.lock                                    held by whoever changes them

New keys are written beside the old ones and forced to disk. Then the ledger takes the entry that
names them, and only then they are put in the place of the old ones. Whatever interrupts this,
`settle` tells by the ledger which keys are the site's: it puts the new ones in their place, or
deletes them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from fedloom.common.errors import ConfigError
from fedloom.common.files import sync_folder
from fedloom.common.holding import hold
from fedloom.privacy.keys import load_exchange_key, load_private_key, public_key_hex
from fedloom.privacy.node_key import load_node_key, node_key_hex

__all__ = [
    "EXCHANGE",
    "KEY",
    "NODE",
    "changing_keys",
    "put_in_place",
    "settle",
    "staged",
]

KEY, EXCHANGE, NODE = "key.pem", "exchange.pem", "node.pem"
_PUBLIC: dict[str, Callable[[Path], str]] = {
    KEY: lambda path: public_key_hex(load_private_key(path)),
    EXCHANGE: lambda path: public_key_hex(load_exchange_key(path)),
    NODE: lambda path: node_key_hex(load_node_key(path)),
}


def staged(path: Path) -> Path:
    """Returns where the key that is to take a key file's place lies until then."""
    return path.with_name(path.name + ".next")


def changing_keys(home: Path) -> AbstractContextManager[None]:
    """Holds the lock under which a home's keys change, or are read together with its ledger.

    Raises:
      ConfigError: another process holds it.
    """
    return hold(home / "rotation.lock", "changes this site's keys; try again in a moment")


def settle(home: Path) -> None:
    """Ends a change of keys that was interrupted, or undoes it; else does nothing.

    Raises:
      ConfigError: the keys are being changed by another process, or one cannot be read.
      LedgerError: the ledger is damaged.
    """
    if _any_staged(home):
        with changing_keys(home):
            put_in_place(home)


def put_in_place(home: Path) -> None:
    """Makes the key files those that the ledger names; the caller holds `changing_keys`.

    Raises:
      ConfigError: a new key that the ledger names cannot be read.
      LedgerError: the ledger is damaged.
    """
    from fedloom.privacy.ledger import read_ledger

    if not _any_staged(home):
        return
    rotations = read_ledger(home).rotations
    new = rotations[-1].rotation.new if rotations else None
    for name, public in _PUBLIC.items():
        path, waiting = home / name, staged(home / name)
        if not waiting.exists():
            continue
        named = None
        if new is not None:
            named = {KEY: new.key, EXCHANGE: new.exchange_key, NODE: new.node_key}[name]
        if named is None or public(path) == named or not _is(waiting, public, named):
            waiting.unlink()
        else:
            os.replace(waiting, path)
    sync_folder(home)


def _any_staged(home: Path) -> bool:
    return any(staged(home / name).exists() for name in _PUBLIC)


def _is(path: Path, public: Callable[[Path], str], named: str) -> bool:
    """Whether a file holds the key that the ledger names; half a file was never named."""
    try:
        return public(path) == named
    except ConfigError as error:
        raise ConfigError(
            f"{path} cannot be read, and it may be the key that the ledger names ({error}); put "
            "the newest backup of the home back with `fedloom site restore`"
        ) from error
