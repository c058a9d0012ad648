"""What a coordinator remembers of every site's ledger, over all its runs.

For each site key the file holds the newest signed head, and the links from the first that was seen
to it (`fedloom.common.signed_heads`). A site is shown its own newest head before anything is asked
of it, so that one whose disk was put back finds out itself; and requests carry the links with which
fellow sites tell that no ledger went back. It lies beside the coordinator's key where there is one,
so that all runs under one key share it, and holds nothing that a run folder does not. When a site's
keys change, what is known goes on under the new key; whoever asks by an earlier one finds it there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.signed_heads import KnownHead, KnownLedger, SeenHead, SignedHead
from fedloom.common.typed import PublicKey
from fedloom.privacy.ledger import goes_on

__all__ = ["HeadRegistry", "registry_path"]


def registry_path(key: Path) -> Path:
    """Returns where the heads lie that were seen under the coordinator's key in a file."""
    return key.with_suffix(".heads.json")


class HeadRegistry:
    """Heads by site key; the file is read and written under a lock, as several runs may share it.

    Args:
      path: the file; made at the first `save`.

    Raises:
      ConfigError: it cannot be read, or is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sites: dict[str, KnownLedger] = self._read()
        self._later = _later(self._sites)

    def newest(self, key: str) -> KnownHead | None:
        """Returns the newest head that is known of a site key's ledger."""
        site = self._site(key)
        return None if site is None else site.newest

    def links(self, key: str, head: SignedHead, since: int) -> tuple[str, ...]:
        """Returns what links entry `since` to a head, as far as it is known.

        Args:
          key: the site's.
          head: a head that was learned.
          since: number of an earlier entry of the same ledger.
        """
        site = self._site(key)
        if site is None or site.newest.head.lost != head.lost:
            return ()
        newest = site.newest.head.seq
        to = len(site.links) - (newest - head.seq)
        return site.links[max(to - (head.seq - since), 0) : max(to, 0)]

    def goes_on(self, key: str, head: SeenHead) -> bool:
        """Whether a head that an answer names is not older than the newest that is known."""
        site = self._site(key)
        if site is None:
            return True
        seen = site.newest.head.seen
        return (head.epoch, head.seq) > (seen.epoch, seen.seq) or head == seen

    def learn(self, key: str, known: KnownHead, links: tuple[str, ...]) -> bool:
        """Takes in a head that the site signed.

        Args:
          key: the site's, for which the signature was checked.
          known: the head.
          links: of the entries before it, to its own.

        Returns:
          Whether it is of the ledger that was known, and not older.
        """
        site = self._site(key)
        head = known.head
        if site is None:
            self._sites[key] = KnownLedger(newest=known, links=links)
            return True
        seen = site.newest.head.seen
        if head.seq < seen.seq and len(head.lost) == seen.epoch:
            # Promised before another run made the ledger grow: it must lie on what is known.
            earlier = self.links(key, site.newest.head, head.seq)
            return goes_on(head.seen, site.newest.head, earlier)
        if not goes_on(seen, head, links):
            return False
        same = len(head.lost) == seen.epoch
        new = links[len(links) - (head.seq - seen.seq) :] if same else ()
        kept = (*site.links, *new) if same else ()
        self._sites[self._present(key)] = KnownLedger(newest=known, links=kept, former=site.former)
        return True

    def hand_on(self, former: Sequence[str], key: str) -> None:
        """Goes on under a new key with what is known of a site, and writes the file.

        Args:
          former: keys that the site has signed with, and handed on to `key`.
          key: that signs now.
        """
        held = [self._sites[name] for name in (*former, key) if name in self._sites]
        if not held:
            return
        newest = max(held, key=lambda site: site.newest.head.seen)
        for name in former:
            self._sites.pop(name, None)
        self._sites[key] = msgspec.structs.replace(newest, former=tuple(former))
        self._later = _later(self._sites)
        self.save()

    def _present(self, key: str) -> str:
        """Returns the key under which a site is known that signed with `key` now or before."""
        return self._later.get(key, key)

    def _site(self, key: str) -> KnownLedger | None:
        return self._sites.get(self._present(key))

    def save(self) -> None:
        """Writes the file; what another run has learned meanwhile stays."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for name, other in self._read().items():
                key = self._present(name)
                own = self._sites.get(key, other)
                newest = max(own, other, key=lambda site: site.newest.head.seen)
                former = max(own.former, other.former, key=len)
                self._sites[key] = msgspec.structs.replace(newest, former=former)
            self._later = _later(self._sites)
            self._sites = {k: site for k, site in self._sites.items() if k not in self._later}
            write_whole(self._path, msgspec.json.encode(self._sites), private=True)
        finally:
            os.close(lock)

    def _read(self) -> dict[str, KnownLedger]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            return msgspec.json.decode(data, type=dict[PublicKey, KnownLedger])
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"{self._path} is damaged ({error}); restore it from a backup: without it a site "
                "that was put back to an older state is found by fellow sites alone"
            ) from error


def _later(sites: Mapping[str, KnownLedger]) -> dict[str, str]:
    """Returns the present key of a site by each of its former ones."""
    return {former: key for key, site in sites.items() for former in site.former}
