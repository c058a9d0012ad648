"""`fedloom site metrics` and `fedloom site health`."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.metrics_serving import metrics_options, serve_metrics, tell_health
from fedloom.cli.options import json_option
from fedloom.cli.site_plan import home_option

__all__ = ["health", "metrics"]


@click.command()
@home_option
@metrics_options
def metrics(home: Path, port: int | None, file: Path | None, once: bool) -> None:
    """Give the site's metrics to Prometheus: at a port of the loopback, or as a text file.

    `site up` runs this where site.toml has [monitoring]; --port and --file stand in its place. No
    metric is derived from records. `/health` beside `/metrics` says whether the site is ready.
    """
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig
    from fedloom.monitoring.health import site_health
    from fedloom.monitoring.site_metrics import SiteCollector

    opened = Home.open(home)
    serve_metrics(
        SiteCollector(opened),
        lambda: site_health(opened),
        SiteConfig.load(opened.config_path).monitoring,
        port=port,
        file=file,
        once=once,
    )


@click.command()
@home_option
@json_option
def health(home: Path, as_json: bool) -> None:
    """Say whether the site can answer now; exit code 5, with the reasons, if not."""
    from fedloom.client.home import Home
    from fedloom.monitoring.health import site_health

    tell_health(site_health(Home.open(home)), as_json=as_json)
