"""Whether a site or a coordinator is ready, and if not, why."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from fedloom.client.home import Home
from fedloom.common.errors import FedloomError
from fedloom.deployment.coordinator_programs import control_of
from fedloom.privacy.ledger.head import HomeLock
from fedloom.server.provision.coordinator_home import CoordinatorHome

__all__ = [
    "Health",
    "certificate_end",
    "certificates",
    "coordinator_health",
    "site_health",
    "superlink_answers",
    "vault_serves",
]

_LEAST_ROOM_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Health:
    """Reasons why something is not ready; none if it is."""

    reasons: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reasons


def site_health(home: Home) -> Health:
    """Says whether a site can answer now."""
    reasons = []
    if not vault_serves(home):
        reasons.append("no vault holds the home; start it with `fedloom site up`")
    if home.paused_path.exists():
        reasons.append("it is paused; `fedloom site pause --off` lets it answer")
    if home.turned_back_path.exists():
        reasons.append("the home is an older copy of itself; see `fedloom site restore`")
    return Health((*reasons, *_room(home.path), *_ended("authority", home.authority_path)))


def coordinator_health(home: CoordinatorHome) -> Health:
    """Says whether a run can be begun now."""
    reasons = []
    if not superlink_answers(home):
        reasons.append("the SuperLink does not answer; see `fedloom coordinator status`")
    for name, path in certificates(home).items():
        reasons += _ended(name, path)
    return Health((*reasons, *_room(home.path)))


def vault_serves(home: Home) -> bool:
    """Tells whether a vault, or another writer of its ledger, holds the home."""
    lock = HomeLock.for_reader(home.path)
    if lock is not None:
        lock.release()
    return lock is None


def superlink_answers(home: CoordinatorHome) -> bool:
    """Tells whether the coordinator's SuperLink answers."""
    try:
        with control_of(home) as control:
            return control.healthy()
    except FedloomError:
        return False


def certificates(home: CoordinatorHome) -> dict[str, Path]:
    """Returns a coordinator's certificates by name."""
    return {"authority": home.authority.certificate, "server": home.server_certificate}


def certificate_end(path: Path) -> float | None:
    """Returns when a certificate ends, in seconds since 1970; None if there is none."""
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError):
        return None
    return certificate.not_valid_after_utc.timestamp()


def _ended(name: str, path: Path) -> list[str]:
    end = certificate_end(path)
    ended = end is not None and end < time.time()
    return [f"the certificate of the {name} has ended"] if ended else []


def _room(path: Path) -> list[str]:
    free = shutil.disk_usage(path).free
    return [] if free >= _LEAST_ROOM_BYTES else ["the disk is nearly full; make room"]
