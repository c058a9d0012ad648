"""The coordinator's home: keys, certificates, settings and institutions of one federation.

    coordinator.toml     where institutions reach the coordinator, and where its own programs meet
    coordinator.key      Ed25519, signs requests and releases, mode 0600
    coordinator.handovers.json   how earlier keys handed on to it, if it was changed
    authority.key, .crt  the federation's certificate authority; the key mode 0600
    server.key, .crt     the server's certificate, issued by it
    superexec.secret     shared by Flower's SuperLink and the process that starts its apps
    institutions/        a card for each site that was invited
    receipts/            approvals that stewards signed and sent
    releases/            releases to look at on the coordinator's page
    runs.json            where the runs of this federation lie
    flower/              Flower's files; its database holds masked answers, mode 0600
    audit.jsonl          commands and messages; see `fedloom.common.audit_log`
    logs/                output of the coordinator's programs
    nginx.conf           a reverse proxy to put in place of the built-in gateway
    *.service            a unit for systemd

Nothing in it is for the institutions; what they get is the kit (`fedloom.privacy.kit`).
"""

from __future__ import annotations

import ipaddress
import json
import re
import secrets
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.monitoring_settings import MonitoringSettings
from fedloom.common.typed import Section, read_typed
from fedloom.privacy.card import SiteCard
from fedloom.privacy.handover import handovers_path, read_handovers
from fedloom.privacy.keys import PrivateKey, generate_key, load_private_key, public_key_hex
from fedloom.privacy.kit import Kit
from fedloom.privacy.plan import Plan
from fedloom.privacy.receipt import Receipt
from fedloom.server.head_registry import HeadRegistry, registry_path
from fedloom.server.provision.certificates import (
    Authority,
    issue_server_certificate,
    make_authority,
)
from fedloom.server.provision.new_signing_key import settle_signing_key

__all__ = ["CoordinatorHome", "CoordinatorSettings"]

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")
Port = Annotated[int, Meta(ge=1, le=65535)]


class CoordinatorSettings(Section, frozen=True, kw_only=True, rename="kebab"):
    """`coordinator.toml`.

    Attributes:
      host: name or address at which institutions reach the coordinator; in the certificate.
      port: the port there.
      listen: address on which the gateway listens.
      superlink_port: port of the loopback on which Flower's SuperLink listens.
      monitoring: metrics and health checks; none by default.
    """

    host: str
    port: Port
    listen: str = "0.0.0.0"
    superlink_port: Port
    monitoring: MonitoringSettings = MonitoringSettings()

    @property
    def address(self) -> str:
        """HOST:PORT for institutions."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def superlink(self) -> str:
        """HOST:PORT of the SuperLink, for the coordinator's own programs."""
        return f"127.0.0.1:{self.superlink_port}"


class CoordinatorHome:
    """Paths, keys and small files of a coordinator's home."""

    def __init__(self, path: Path) -> None:
        """Names the folder; nothing is read yet."""
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path, settings: CoordinatorSettings) -> CoordinatorHome:
        """Makes a home with fresh keys and certificates.

        Raises:
          ConfigError: the folder is not empty, or host or address is none.
        """
        home = cls(path)
        _check_host(settings.host)
        if path.exists() and any(path.iterdir()):
            raise ConfigError(f"{path} is not empty; a coordinator's home is made once, in its own")
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        for folder in (home.institutions, home.receipts, home.logs, home.flower):
            folder.mkdir(mode=0o700)
        generate_key(home.key_path)
        make_authority(home.authority, host=settings.host)
        home.issue_certificate(settings.host)
        write_whole(home.secret_path, secrets.token_hex(32).encode(), private=True)
        home.settings_path.write_text(_settings_text(settings), encoding="utf-8")
        return home

    @classmethod
    def open(cls, path: Path) -> CoordinatorHome:
        """Returns an existing home; a change of its key that was interrupted is ended or undone.

        Raises:
          ConfigError: the folder is none.
        """
        home = cls(path)
        if not home.settings_path.is_file():
            raise ConfigError(
                f"{path} is no coordinator's home; make one with `fedloom coordinator init {path} "
                "--host NAME --port N`, or name its folder"
            )
        settle_signing_key(home.key_path)
        return home

    @property
    def settings_path(self) -> Path:
        """Where institutions reach the coordinator."""
        return self.path / "coordinator.toml"

    @property
    def key_path(self) -> Path:
        """The key that signs requests and releases."""
        return self.path / "coordinator.key"

    @property
    def authority(self) -> Authority:
        """The federation's certificate authority."""
        return Authority(key=self.path / "authority.key", certificate=self.path / "authority.crt")

    @property
    def server_key(self) -> Path:
        """Key of the server's certificate."""
        return self.path / "server.key"

    @property
    def server_certificate(self) -> Path:
        """The server's certificate."""
        return self.path / "server.crt"

    @property
    def secret_path(self) -> Path:
        """What the process that starts Flower's apps shows to the SuperLink."""
        return self.path / "superexec.secret"

    @property
    def institutions(self) -> Path:
        """Folder of the invited sites' cards."""
        return self.path / "institutions"

    @property
    def receipts(self) -> Path:
        """Folder of the approvals that stewards sent."""
        return self.path / "receipts"

    @property
    def flower(self) -> Path:
        """Folder of Flower's own files."""
        return self.path / "flower"

    @property
    def database(self) -> Path:
        """Database of Flower's SuperLink."""
        return self.flower / "superlink.db"

    @property
    def logs(self) -> Path:
        """Folder of the programs' output."""
        return self.path / "logs"

    def settings(self) -> CoordinatorSettings:
        """Reads `coordinator.toml`.

        Raises:
          ConfigError: it is missing or wrong.
        """
        try:
            raw = tomllib.loads(self.settings_path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.settings_path}: cannot be read: {error}") from error
        settings = read_typed(raw, CoordinatorSettings, where=f"{self.settings_path}:")
        _check_host(settings.host)
        return settings

    def key(self) -> PrivateKey:
        """Reads the key that signs requests and releases."""
        return load_private_key(self.key_path)

    def issue_certificate(self, host: str) -> None:
        """Makes the server's key and certificate, in place of those that are there."""
        issue_server_certificate(
            self.authority, host=host, key=self.server_key, chain=self.server_certificate
        )

    def cards(self) -> list[SiteCard]:
        """Returns the cards of all invited sites, in the order of their names."""
        return [SiteCard.load(path) for path in sorted(self.institutions.glob("*.json"))]

    def invite(self, card: SiteCard, *, replace: bool = False) -> bool:
        """Takes in a site, or its new keys if the keys that are known here have handed on to them.

        What is known of the site's ledger goes on under the new key.

        Args:
          card: its card, whose signature holds.
          replace: the site has new keys that no earlier ones vouch for; its steward says so.

        Returns:
          Whether the site was known with other keys, which vouch for these.

        Raises:
          ConfigError: another card of that name is here that does not lead to this one, or another
            site has one of its keys.
        """
        handed_on = False
        for known in self.cards():
            same = known.signed_bytes() == card.signed_bytes()
            if known.name == card.name and not same:
                handed_on = card.goes_on_from(known)
                if not handed_on and not replace:
                    raise ConfigError(
                        f"{card.name!r} was invited with other keys ({known.fingerprint()}), and "
                        "the card does not show that they were handed on to these: it is older, or "
                        "of another home. If its steward tells you that they changed, say --replace"
                    )
            keys = {known.key, known.exchange_key, known.node_key}
            if known.name != card.name and keys & {card.key, card.exchange_key, card.node_key}:
                raise ConfigError(
                    f"the cards of {known.name!r} and {card.name!r} have a key in common; each "
                    "site has its own: have it make its home with `fedloom site init`"
                )
        text = json.dumps(msgspec.to_builtins(card), indent=2) + "\n"
        if card.former_keys:
            HeadRegistry(registry_path(self.key_path)).hand_on(card.former_keys, card.key)
        write_whole(self.institutions / f"{card.name}.json", text.encode(), private=True)
        return handed_on

    def kit(self, policy: str = "") -> Kit:
        """Returns the kit for all invited sites."""
        return Kit(
            address=self.settings().address,
            coordinator_key=public_key_hex(self.key()),
            coordinator_handovers=read_handovers(handovers_path(self.key_path)),
            authority=self.authority.certificate.read_text("ascii"),
            policy=policy,
            sites=self.cards(),
        )

    def keep_receipt(self, receipt: Receipt) -> None:
        """Keeps an approval whose signature holds."""
        folder = self.receipts / receipt.plan
        folder.mkdir(mode=0o700, exist_ok=True)
        receipt.save(folder / f"{receipt.site}.json")

    def receipts_for(self, plan: Plan) -> dict[str, Receipt]:
        """Returns the approvals of a plan that stewards sent, by site.

        Raises:
          VerificationError: one does not hold.
        """
        found = {}
        for path in sorted((self.receipts / plan.digest()).glob("*.json")):
            receipt = Receipt.load(path)
            receipt.check(plan)
            found[receipt.site] = receipt
        return found

    def note_run(self, path: Path) -> None:
        """Adds a run's folder to the list of runs."""
        known = [str(p) for p in self.runs()]
        if str(path) not in known:
            text = json.dumps([*known, str(path)], indent=2) + "\n"
            write_whole(self.path / "runs.json", text.encode(), private=True)

    def runs(self) -> list[Path]:
        """Returns the folders of all runs, in the order in which they began."""
        try:
            return [Path(text) for text in json.loads((self.path / "runs.json").read_text("utf-8"))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.path / 'runs.json'} cannot be read; move it away, the list of runs begins "
                "anew"
            ) from error


def _settings_text(settings: CoordinatorSettings) -> str:
    return f"""\
# Where institutions reach the coordinator. The name stands in the server's certificate: after a
# change run `fedloom coordinator renew`.
host = {json.dumps(settings.host)}
port = {settings.port}
# Address on which the gateway listens.
listen = {json.dumps(settings.listen)}
# Port of the loopback for Flower's SuperLink. Nothing but the gateway may pass it on: whoever
# reaches it runs code on this machine.
superlink-port = {settings.superlink_port}

# [monitoring]
# port = 9465      # of the loopback: /metrics for Prometheus, and /health
# file = "/var/lib/prometheus/node-exporter/fedloom.prom"   # for the node exporter
# log_format = "json"         # or "text": of what the programs log
# log_level = "info"
"""


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not _HOST.match(host):
            raise ConfigError(
                f"host = {host!r} must be a name such as fed.example.org, or an address, without "
                "port"
            ) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
