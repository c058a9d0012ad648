"""`[monitoring]` of `site.toml` and `coordinator.toml`: what is told of how a program runs."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fedloom.common.typed import Section

__all__ = ["MonitoringSettings"]


class MonitoringSettings(Section, frozen=True, kw_only=True):
    """What `site up` and `coordinator up` let others see; nothing by default.

    Attributes:
      port: of the loopback, for Prometheus and health checks.
      file: for the node exporter's collector of text files; written anew all the time.
    """

    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    file: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to serve or write."""
        return self.port is not None or self.file is not None
