"""`site.toml`: what a steward writes about one institution.

    [site]
    name = "seattle"             # the name in studies
    device = "auto"              # cpu, cuda, cuda:1 or auto

    [source]                     # where the records are, and how they are written; see
    path = "records.csv"         # `fedloom.client.sources.config` and `.options`

    [policy]                     # the institution's own limits, for the records' whole life
    epsilon = 3.0
    delta = 1e-5
    models = ["tree", "mixture"] # optional: models that may be fitted or trained
    min_sites = 3                # optional: smallest number of sites of a study, or of a sum
    columns = ["age", "sex"]     # optional: the only columns that may be used
    unit = "person"              # optional: the only unit of privacy
    id = "patient"               # optional: the only column that says whose row each is
    max_rows_per_person = 5      # optional: most rows of one person that may count
    trust = "per-site"              # optional: the only trust mode
    min_colluding = 1            # optional: sites that a secure sum must bear to be colluding

    [monitoring]                 # optional: metrics and health checks; see
    port = 9464                  # `fedloom.common.monitoring_settings`

    [peers.portland]             # another site's keys, from its steward; see `peers`
    key = "..."
    exchange-key = "..."

The ledger holds the two limits from its first entry; the file can only make them stricter. A vault
reads it again before every answer, so what it says of policy and peers takes effect at once.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from fedloom.client.device import DEVICE_PATTERN
from fedloom.client.peers import Peer, read_peers
from fedloom.client.sources import Source
from fedloom.common.errors import ConfigError
from fedloom.common.monitoring_settings import MonitoringSettings
from fedloom.common.study import SiteName
from fedloom.common.typed import Section, read_typed
from fedloom.privacy.ledger import Limits
from fedloom.privacy.policy import Policy

__all__ = ["SiteConfig", "template"]


class _SiteTable(Section, frozen=True, kw_only=True):
    name: SiteName
    device: Annotated[
        str,
        Meta(
            pattern=DEVICE_PATTERN,
            extra={"what": "one of cpu, cuda, cuda:1 (or another number), auto"},
        ),
    ] = "cpu"


class _File(Section, frozen=True, kw_only=True):
    """The whole file; a source and peers are read one by one."""

    site: _SiteTable
    source: dict[str, Any]
    policy: Policy
    monitoring: MonitoringSettings = MonitoringSettings()
    peers: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """A site's name, device, records, rules, what it tells of itself, the other sites' keys."""

    name: str
    device: str
    source: Source
    policy: Policy
    monitoring: MonitoringSettings = MonitoringSettings()
    peers: dict[str, Peer] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> SiteConfig:
        """Reads a `site.toml`.

        Raises:
          ConfigError: the file is missing, a section or key is missing, unknown or wrong.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: no such file; `fedloom site init` writes one to begin with"
            ) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}; it must be a file to read") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not a TOML file: {error}") from error
        file = read_typed(raw, _File, where=f"{path}:")
        return cls(
            name=file.site.name,
            device=file.site.device,
            source=Source.from_dict(file.source, path.parent),
            policy=file.policy,
            monitoring=file.monitoring,
            peers=read_peers(file.peers, where=str(path)),
        )

    @classmethod
    def monitoring_at(cls, path: Path) -> MonitoringSettings:
        """Returns what a home's `site.toml` lets others see; nothing where there is no file."""
        return cls.load(path).monitoring if path.exists() else MonitoringSettings()

    @classmethod
    def limits_at(cls, path: Path) -> Limits | None:
        """Returns what the policy in a home's `site.toml` allows, None where there is no file."""
        return cls.load(path).policy.limits if path.exists() else None


def template(*, name: str, source: str, epsilon: float, delta: float) -> str:
    """Returns the text of a first `site.toml`; `source` is the body of its [source] section."""
    return f"""\
[site]
name = {json.dumps(name)}
device = "cpu"            # cpu, cuda, cuda:1 or auto

[source]
{source}

[policy]
# The largest privacy loss for these records in their whole lifetime, over all studies together.
# The ledger holds these two numbers from its first entry. Smaller ones here bind at once, also
# while a vault runs; larger ones change nothing.
epsilon = {epsilon!r}
delta = {delta!r}
# models = ["tree", "mixture"]  # models that may be fitted or trained; all by default
# min_sites = 3                 # smallest number of sites of a study, or of a secure sum
# columns = ["age", "sex"]      # the only columns that may be used
# unit = "person"               # the only unit of privacy; say so if people have several rows
# id = "patient"                # the only column that says whose row each is
# max_rows_per_person = 5       # most rows of one person that may count
# trust = "per-site"               # the only trust mode; "per-site" relies on no other site
# min_colluding = 1             # sites that may side with the coordinator in a secure sum

# [monitoring]
# port = 9464      # of the loopback: /metrics for Prometheus, and /health
# file = "/var/lib/prometheus/node-exporter/fedloom.prom"   # for the node exporter
# log_format = "json"         # or "text": of what vault and node log
# log_level = "info"

# A secure sum needs the keys of every other site, told by its steward by telephone or signed mail.
# [peers.NAME]
# key = "..."
# exchange-key = "..."
"""
