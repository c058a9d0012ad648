"""A site's home: the folder that holds its keys, ledger, approved plans and snapshots.

    site.toml            where the records are, policy, device (written by the steward)
    key.pem              Ed25519 private key, signs, mode 0600
    exchange.pem         X25519 private key, masks the shares of a secure sum, mode 0600
    node.pem             P-384 private key of the site's Flower node, mode 0600
    *.pem.next           new keys while they change; see `fedloom.client.key_files`
    kit.json             the federation that the site joined; see `fedloom.client.membership`
    authority.crt        certificate of the authority behind the coordinator's server
    turned-back.json     while this file is there, the home is known to be an older copy of itself
    paused               while this file is there, the vault refuses every query
    ledger.db, .head     the ledger; see `fedloom.privacy.ledger`
    approved/            plans that the steward approved, by digest
    inbox/               plans that wait for the steward; see `fedloom.client.inbox`
    releases/            releases that the steward looks at on the page
    snapshots/           the records as codes, frozen at approval, mode 0600; deleted when it ends
    private.log, .1      what only the steward may read
    audit.jsonl          commands and messages; see `fedloom.common.audit_log`

Only the vault and the steward's commands open a home; it never leaves the institution.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from fedloom.client.key_files import EXCHANGE, KEY, NODE, settle
from fedloom.common.errors import ConfigError
from fedloom.privacy.keys import (
    ExchangeKey,
    PrivateKey,
    generate_exchange_key,
    generate_key,
    load_exchange_key,
    load_private_key,
    public_key_hex,
)
from fedloom.privacy.node_key import generate_node_key

__all__ = ["Home"]

_LARGEST_LOG = 16 << 20


class Home:
    """Paths and keys of one site's home."""

    def __init__(self, path: Path) -> None:
        """Names the folder; nothing is read yet."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path) -> Home:
        """Makes a home with fresh keys.

        Raises:
          ConfigError: the folder holds a home already.
        """
        home = cls(path)
        if home.exists():
            raise ConfigError(f"{path} is a site's home already; choose another folder")
        home.path.mkdir(parents=True, exist_ok=True)
        home.path.chmod(0o700)
        for folder in (home.approved, home.snapshots):
            folder.mkdir(mode=0o700, exist_ok=True)
        home.make_keys()
        return home

    @classmethod
    def open(cls, path: Path) -> Home:
        """Returns an existing home.

        A change of its keys that was interrupted is ended or undone.

        Raises:
          ConfigError: the folder is not a home.
        """
        home = cls(path)
        if home.exists():
            settle(path)
        else:
            raise ConfigError(
                f"{path} is not a site's home; make one with `fedloom site init --home {path}`"
            )
        return home

    def exists(self) -> bool:
        """Whether the folder holds a ledger or the key of one."""
        return self.ledger_path.exists() or self.key_path.exists()

    @property
    def config_path(self) -> Path:
        """The steward's `site.toml`."""
        return self.path / "site.toml"

    @property
    def key_path(self) -> Path:
        """The site's private signing key."""
        return self.path / KEY

    @property
    def exchange_key_path(self) -> Path:
        """The site's private exchange key."""
        return self.path / EXCHANGE

    @property
    def node_key_path(self) -> Path:
        """The private key of the site's Flower node."""
        return self.path / NODE

    @property
    def kit_path(self) -> Path:
        """The kit that the steward confirmed."""
        return self.path / "kit.json"

    @property
    def authority_path(self) -> Path:
        """Certificate of the authority behind the coordinator's server."""
        return self.path / "authority.crt"

    @property
    def ledger_path(self) -> Path:
        """The ledger's database."""
        return self.path / "ledger.db"

    @property
    def head_path(self) -> Path:
        """The ledger's head: where it is, a ledger was."""
        return self.path / "ledger.head"

    @property
    def approved(self) -> Path:
        """Folder of approved plans."""
        return self.path / "approved"

    @property
    def snapshots(self) -> Path:
        """Folder of frozen records."""
        return self.path / "snapshots"

    @property
    def paused_path(self) -> Path:
        """While this file is there, the vault refuses every query."""
        return self.path / "paused"

    @property
    def turned_back_path(self) -> Path:
        """A head that this home's ledger once had and has no more; while it is there, no answer."""
        return self.path / "turned-back.json"

    def plan_path(self, plan: str) -> Path:
        """Where the approved plan of that digest lies."""
        return self.approved / f"{plan}.json"

    def snapshot_path(self, plan: str) -> Path:
        """Where the records frozen for the plan of that digest lie."""
        return self.snapshots / f"{plan}.npz"

    def salt_path(self, plan: str) -> Path:
        """Where the salt of the ledger's commitment to those records lies."""
        return self.snapshots / f"{plan}.salt"

    def forget_plan(self, plan: str) -> None:
        """Deletes what was kept for an approval: the plan, the frozen records, their salt."""
        self.plan_path(plan).unlink(missing_ok=True)
        self.forget_records(plan)

    def forget_records(self, plan: str) -> None:
        """Deletes the frozen records of a plan and their salt; the plan stays."""
        for path in (self.snapshot_path(plan), self.salt_path(plan)):
            path.unlink(missing_ok=True)

    def make_keys(self) -> None:
        """Makes those of the site's keys that are not there; a key is never replaced."""
        if not self.key_path.exists():
            generate_key(self.key_path)
        if not self.exchange_key_path.exists():
            generate_exchange_key(self.exchange_key_path)
        if not self.node_key_path.exists():
            generate_node_key(self.node_key_path)

    def private_key(self) -> PrivateKey:
        """Reads the site's signing key.

        Raises:
          ConfigError: there is none, or it cannot be read.
        """
        return load_private_key(self.key_path)

    def public_key(self) -> str:
        """Returns the site's public key as hexadecimal digits."""
        return public_key_hex(self.private_key())

    def exchange_private_key(self) -> ExchangeKey:
        """Reads the site's exchange key.

        Raises:
          ConfigError: there is none, or it cannot be read.
        """
        return load_exchange_key(self.exchange_key_path)

    def exchange_public_key(self) -> str:
        """Returns the public half of the site's exchange key as hexadecimal digits."""
        return public_key_hex(self.exchange_private_key())

    def log(self, text: str) -> None:
        """Appends one line to the steward's own log; the newest 16 MiB are kept at least."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        path = self.path / "private.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > _LARGEST_LOG:
                path.rename(self.path / "private.log.1")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
            stream.write(f"{stamp} {text}\n")
