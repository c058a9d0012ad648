"""What `site metrics` and `coordinator metrics`, `site health` and `coordinator health` share."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from fedloom.cli.output import print_json
from fedloom.common.errors import ConfigError, IncompleteError
from fedloom.common.event_log import event, serve_events
from fedloom.common.monitoring_settings import MonitoringSettings

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from fedloom.monitoring.health import Health

__all__ = ["metrics_options", "serve_metrics", "tell_health"]

Command = TypeVar("Command", bound=Callable[..., None])

_EVERY_S = 15.0


def metrics_options(command: Command) -> Command:
    """Adds `--port`, `--file` and `--once`."""
    for option in (
        click.option("--once", is_flag=True, help="Print the metrics, and end."),
        click.option(
            "--file", type=click.Path(path_type=Path), help="Text file for the node exporter."
        ),
        click.option("--port", type=click.IntRange(1, 65535), help="Port of the loopback."),
    ):
        command = option(command)
    return command


def serve_metrics(
    collector: Collector,
    health: Callable[[], Health],
    settings: MonitoringSettings,
    *,
    port: int | None,
    file: Path | None,
    once: bool,
) -> None:
    """Prints metrics once, or serves and writes them until SIGTERM or Ctrl-C.

    Raises:
      ConfigError: there is nothing to do: neither a port nor a file.
    """
    from fedloom.monitoring.exporter import Exporter, exposition, write_text_file

    if once:
        click.echo(exposition(collector).decode(), nl=False)
        return
    port = port or settings.port
    file = file or (None if settings.file is None else Path(settings.file))
    if port is None and file is None:
        raise ConfigError(
            "say where metrics go: --port, --file, or [monitoring] in the home's file"
        )
    serve_events(settings.log_format, settings.log_level)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    exporter = None if port is None else Exporter(collector, health, port=port)
    try:
        if exporter is not None:
            address = f"http://127.0.0.1:{exporter.port}/metrics"
            event("serving", address=address)
        while not stopped.is_set():
            if file is not None:
                write_text_file(collector, file)
            stopped.wait(_EVERY_S)
    finally:
        if exporter is not None:
            exporter.stop()


def tell_health(health: Health, *, as_json: bool) -> None:
    """Prints whether something is ready.

    Raises:
      IncompleteError: it is not (exit code 5).
    """
    if as_json:
        print_json({"ready": health.ready, "reasons": list(health.reasons)})
        if not health.ready:
            raise click.exceptions.Exit(IncompleteError.exit_code)
        return
    if not health.ready:
        raise IncompleteError("not ready: " + "; ".join(health.reasons))
    click.echo("ready")
