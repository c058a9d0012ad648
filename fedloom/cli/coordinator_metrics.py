"""`fedloom coordinator metrics` and `fedloom coordinator health`."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.coordinator_up import coordinator_option
from fedloom.cli.metrics_serving import metrics_options, serve_metrics, tell_health
from fedloom.cli.options import json_option

__all__ = ["health", "metrics"]


@click.command()
@coordinator_option
@metrics_options
def metrics(home: Path, port: int | None, file: Path | None, once: bool) -> None:
    """Give the coordinator's metrics to Prometheus: at a port of the loopback, or as a text file.

    `coordinator up` runs this where coordinator.toml has [monitoring]; --port and --file stand in
    its place. `/health` beside `/metrics` says whether runs can be begun.
    """
    from fedloom.monitoring.coordinator_metrics import CoordinatorCollector
    from fedloom.monitoring.health import coordinator_health
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    serve_metrics(
        CoordinatorCollector(opened),
        lambda: coordinator_health(opened),
        opened.settings().monitoring,
        port=port,
        file=file,
        once=once,
    )


@click.command()
@coordinator_option
@json_option
def health(home: Path, as_json: bool) -> None:
    """Say whether runs can be begun now; exit code 5, with the reasons, if not."""
    from fedloom.monitoring.health import coordinator_health
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    tell_health(coordinator_health(CoordinatorHome.open(home)), as_json=as_json)
