"""What a vault knows that its disk does not: the nonce of its next answer in each run.

A vault promises its next answer in a run by a signed head with a fresh nonce
(`fedloom.common.signed_heads`), and answers no request that names another nonce. The nonces are
held in memory: whoever brings back an older disk, or copies a home, does not bring them back, and
can answer nothing that was asked of the vault before. What is kept beside them is the head of the
ledger when an answer last left, so that a ledger that does not go on from there is found at once.

Memory here is this process and, where the system has a folder that lies in memory (`tmpfs`), a
file in it: a vault that was killed and started again on the same machine goes on as if nothing had
happened. After a reboot, or without such a folder, the nonces are gone. The vault then makes new
ones, does not answer what it had opened before, and no longer knows whether all that it answered is
in its ledger: the runs that were reserved before are not `whole`, and count in full at their end.

Not covered: a copy of memory and disk together, such as a snapshot of a running virtual machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from fedloom.common.errors import HomeInUseError
from fedloom.common.signed_heads import SeenHead, SignedHead
from fedloom.common.typed import Section
from fedloom.privacy.keys import PrivateKey, sign
from fedloom.privacy.ledger import Ledger

__all__ = ["VaultMemory", "memory_folder"]

_NONCE_BYTES = 16


class _Promise(Section, frozen=True):
    """The next answer in a run; `whole` if the ledger surely holds all that were given before."""

    plan: str
    run: str
    whole: bool
    head: SignedHead | None


class _Kept(Section, frozen=True):
    """What lies in the file."""

    newest: SeenHead
    promises: tuple[_Promise, ...]


def memory_folder() -> Path | None:
    """Returns a folder of this user that lies in memory, made if need be; None if there is none.

    It is `fedloom` in `$XDG_RUNTIME_DIR`, or `fedloom-UID` in `/dev/shm`, if those are of type
    tmpfs. A folder that others can enter is not used.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    shared = Path("/dev/shm") / f"fedloom-{os.geteuid()}"  # noqa: S108 - owner and mode are checked
    for folder in ([Path(runtime) / "fedloom"] if runtime else []) + [shared]:
        if not _lies_in_memory(folder.parent):
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            status = folder.lstat()
        except OSError:
            continue
        own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
        if own and not status.st_mode & 0o077:
            return folder
    return None


def _lies_in_memory(path: Path) -> bool:
    """Whether the file system of a folder is tmpfs, as Linux says; elsewhere nobody knows."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", "surrogateescape").splitlines()
        place = path.resolve(strict=True)
    except OSError:
        return False
    kinds: dict[Path, str] = {}
    for line in mounts:  # a later mount on the same point hides an earlier one
        _, point, kind, *_ = line.split(" ")
        kinds[Path(point.encode().decode("unicode_escape"))] = kind
    nearest = next((p for p in (place, *place.parents) if p in kinds), None)
    return nearest is not None and kinds[nearest] in ("tmpfs", "ramfs")


class VaultMemory:
    """The promises of one vault; not for several threads at once.

    Args:
      ledger: the vault's ledger.
      key: the site's signing key.
      home: where the ledger lies; a home that was moved has forgotten everything.
      folder: in memory (`memory_folder`); None for this process alone.

    Raises:
      HomeInUseError: another vault holds the memory of this home.
    """

    def __init__(self, ledger: Ledger, key: PrivateKey, home: Path, folder: Path | None) -> None:
        self._ledger, self._key = ledger, key
        self._promises: dict[tuple[str, str], _Promise] = {}
        self._path: Path | None = None
        self._lock = -1
        self._written: _Kept | None = None
        self.turned_back: SeenHead | None = None
        """A head that an answer of this home told, and that its ledger does not go on from."""
        if folder is not None:
            self._open(folder, home)

    def begin(self, plan: str, run: str) -> None:
        """Notes a run that was reserved just now: the ledger holds all that is answered in it."""
        self._promises[plan, run] = _Promise(plan=plan, run=run, whole=True, head=None)

    def promise(self, plan: str, run: str) -> SignedHead:
        """Returns the head that promises the next answer in a run; the same until it is used."""
        held = self._promises.get((plan, run))
        if held is None:
            held = _Promise(plan=plan, run=run, whole=False, head=None)
        head = self.signed_head(plan, run) if held.head is None else held.head
        self._promises[plan, run] = msgspec.structs.replace(held, head=head)
        return head

    def holds(self, plan: str, run: str, nonce: str) -> bool:
        """Whether a nonce is that of the next answer in a run."""
        held = self._promises.get((plan, run))
        return held is not None and held.head is not None and held.head.nonce == nonce

    def used(self, plan: str, run: str) -> None:
        """Drops the nonce of a run, once an answer to it is stored."""
        held = self._promises.get((plan, run))
        if held is not None:
            self._promises[plan, run] = msgspec.structs.replace(held, head=None)

    def whole(self, plan: str, run: str) -> bool:
        """Whether the ledger surely holds every answer that was given in a run."""
        held = self._promises.get((plan, run))
        return held is not None and held.whole

    def forget(self, plan: str, run: str) -> None:
        """Drops a run that has ended."""
        self._promises.pop((plan, run), None)

    def keep(self) -> None:
        """Notes the ledger's head and all promises, before an answer leaves.

        Raises:
          OSError: the memory is full.
        """
        seq, found = self._ledger.head
        newest = SeenHead(epoch=len(self._ledger.lost), seq=seq, hash=found)
        kept = _Kept(newest=newest, promises=tuple(self._promises.values()))
        if self._path is None or kept == self._written or self.turned_back is not None:
            return
        partial = self._path.with_suffix(".partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(msgspec.json.encode(kept))
        os.replace(partial, self._path)
        self._written = kept

    def close(self) -> None:
        """Gives the memory free; it stays for the next vault of this home on this machine."""
        if self._lock < 0:
            return
        with suppress(OSError):
            self.keep()
        if self._path is not None and self._ledger.rehearsal and not self._promises:
            self._path.unlink(missing_ok=True)
            self._path.with_suffix(".lock").unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1

    def signed_head(self, plan: str, run: str) -> SignedHead:
        """Returns the ledger's head as it is now, with a fresh nonce that nobody holds yet."""
        seq, found = self._ledger.head
        nonce = secrets.token_hex(_NONCE_BYTES)
        head = SignedHead(lost=self._ledger.lost, seq=seq, hash=found, nonce=nonce, signature="")
        signature = sign(self._key, head.signed_bytes(plan, run))
        return msgspec.structs.replace(head, signature=signature)

    def _open(self, folder: Path, home: Path) -> None:
        name = hashlib.sha256(
            os.fsencode(home.resolve()) + b"\n" + self._ledger.genesis_hash.encode()
        ).hexdigest()[:32]
        self._path = folder / f"{name}.json"
        self._lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise HomeInUseError(
                f"a vault of the home {home} is at work on this machine, with another copy of its "
                "files; end it, and never let two copies of a home answer"
            ) from None
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return
        since = self._ledger.answered_since(kept.newest)
        if since is None:
            self.turned_back = kept.newest
            return
        for held in kept.promises:
            used = (held.plan, held.run) in since
            self._promises[held.plan, held.run] = (
                msgspec.structs.replace(held, head=None) if used else held
            )
