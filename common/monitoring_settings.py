"""`[monitoring]` of `site.toml` and `coordinator.toml`: what programs tell of how they run."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from fedloom.common.typed import Section

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Section, frozen=True, kw_only=True):
    """What `site up` and `coordinator up` let others see; nothing by default.

    Attributes:
      port: of the loopback, for Prometheus and health checks.
      file: for the node exporter's collector of text files; written anew all the time.
      log_format: of what the programs log: "text" or "json".
      log_level: the least that they log: "debug", "info", "warning" or "error".
    """

    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    file: str | None = None
    log_format: Literal["text", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to serve or write."""
        return self.port is not None or self.file is not None
