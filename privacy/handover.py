"""How a coordinator's signing key hands on to the next: signed by the old one and by the new.

    coordinator.handovers.json    beside the key, all of them in order

Kits and releases carry them. A site that joined under an earlier key takes the new one without a
telephone call, and a consumer who knows any key of the publisher's finds its way to the one that
signed. Whoever has stolen a key can hand it on as well: then everybody must pin anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError, VerificationError
from fedloom.common.files import write_whole
from fedloom.common.strict_json import read_json
from fedloom.common.typed import PublicKey, Section, plain, read_typed
from fedloom.privacy.keys import PrivateKey, public_key_hex, sign, verify

__all__ = [
    "Handover",
    "check_handovers",
    "chained_keys",
    "handovers_path",
    "read_handovers",
    "save_handovers",
]

_PURPOSE = b"fedloom handover of a coordinator's key\n"


class Handover(Section, frozen=True, kw_only=True):
    """One key hands on to the next.

    Attributes:
      old: public key so far.
      new: public key from now on.
      day: UTC, as the coordinator's clock had it.
      signature: by `old`.
      countersignature: by `new`.
    """

    old: PublicKey
    new: PublicKey
    day: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}\Z")]
    signature: str = ""
    countersignature: str = ""

    @classmethod
    def signed(cls, old: PrivateKey, new: PrivateKey, *, day: str) -> Handover:
        """Returns the handover from the holder of one key to that of another."""
        bare = cls(old=public_key_hex(old), new=public_key_hex(new), day=day)
        data = bare._bytes()
        return msgspec.structs.replace(
            bare, signature=sign(old, data), countersignature=sign(new, data)
        )

    @property
    def holds(self) -> bool:
        """Whether both keys signed it."""
        data = self._bytes()
        return verify(self.old, data, self.signature) and verify(
            self.new, data, self.countersignature
        )

    def _bytes(self) -> bytes:
        return _PURPOSE + canonical_json([self.old, self.new, self.day])


def check_handovers(handovers: Sequence[Handover], *, where: str) -> None:
    """Checks that keys hand on one to the next without a gap, and none comes back.

    Raises:
      VerificationError: one is not signed by both keys, or does not follow.
    """
    olds = [handover.old for handover in handovers]
    news = [handover.new for handover in handovers]
    if olds[1:] != news[:-1] or len({*olds, *news}) != len(olds) + bool(olds):
        raise VerificationError(f"{where}: the coordinator's keys do not follow one another")
    if not all(handover.holds for handover in handovers):
        raise VerificationError(
            f"{where}: a change of the coordinator's key is not signed by the old key and the new "
            "one; ask the coordinator, by telephone, which key is theirs"
        )


def chained_keys(handovers: Sequence[Handover]) -> tuple[str, ...]:
    """Returns all keys of checked handovers, in order."""
    first = [handover.old for handover in handovers[:1]]
    return (*first, *(handover.new for handover in handovers))


def handovers_path(key: Path) -> Path:
    """Returns where the handovers lie that led to the key in a file."""
    return key.with_suffix(".handovers.json")


def read_handovers(path: Path) -> tuple[Handover, ...]:
    """Reads a file of handovers; none if it is not there, as the key never changed.

    Raises:
      ConfigError: the file is none of handovers.
      VerificationError: they do not hold.
    """
    if not path.exists():
        return ()
    try:
        value = read_json(path)
    except VerificationError as error:
        raise ConfigError(f"{path} is damaged; restore it from a backup") from error
    found = read_typed(value, tuple[Handover, ...], where=f"{path}:")
    check_handovers(found, where=str(path))
    return found


def save_handovers(path: Path, handovers: Sequence[Handover]) -> None:
    """Writes a file of handovers, whole or not at all."""
    write_whole(path, json.dumps(plain(list(handovers)), indent=2) + "\n")
