"""`fedloom site up`, `down` and `status`: a site's two programs, kept running together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedloom.cli.coordinator_up import start_detached
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option
from fedloom.common.errors import IncompleteError
from fedloom.common.event_log import event, serve_events

__all__ = ["down", "service", "status", "up"]


@click.command()
@home_option
@click.option("--detach", is_flag=True, help="Go on in the background, once the vault serves.")
@click.option("--node-user", help="Run the node as this user, who cannot read the home; for root.")
@click.option(
    "--poll", type=click.FloatRange(0.05, 60), help="Seconds between the node's looks for messages."
)
def up(home: Path, detach: bool, node_user: str | None, poll: float | None) -> None:
    """Run vault and node until SIGTERM, Ctrl-C or `site down`; one that ends is started again."""
    from fedloom.client.link.sockets import is_served
    from fedloom.client.site_config import SiteConfig
    from fedloom.deployment.site_programs import places_of, site_programs
    from fedloom.deployment.supervisor import Supervisor, standing

    places = places_of(home, node_user)
    logs = places.home / "logs"
    if detach:
        words = ["--node-user", node_user] if node_user is not None else []
        words += ["--poll", str(poll)] if poll is not None else []
        start_detached(
            ["site", "up", "--home", str(places.home), *words],
            logs / "up.log",
            ready=lambda: standing(places.home) is not None and is_served(places.socket),
        )
        click.echo(f"up: the vault serves, the node connects; see `fedloom site status`, {logs}")
        return
    monitoring = SiteConfig.load(places.home / "site.toml").monitoring
    serve_events(monitoring.log_format, monitoring.log_level)
    supervisor = Supervisor(
        site_programs(places, poll_s=poll),
        folder=places.home,
        logs=logs,
        tell=lambda text: event("supervisor", detail=text),
    )
    supervisor.run()
    event("down")


@click.command()
@home_option
def down(home: Path) -> None:
    """End what `site up` runs; a request at work is computed again when it is asked again."""
    from fedloom.client.home import Home
    from fedloom.deployment.supervisor import end_supervisor

    click.echo("down" if end_supervisor(Home.open(home).path) else "nothing was up")


@click.command()
@home_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say whether vault and node run, and whether the site is paused.

    Exit code 5 if one of them does not run.
    """
    from fedloom.client.home import Home
    from fedloom.client.membership import kit_of
    from fedloom.client.site_config import SiteConfig
    from fedloom.deployment.supervisor import standing

    opened = Home.open(home)
    held, kit = standing(opened.path), kit_of(home)
    shown: dict[str, Any] = {
        "site": SiteConfig.load(opened.config_path).name,
        "coordinator": None if kit is None else kit.address,
        "up": None if held is None else held[0].in_words,
        "programs": {} if held is None else held[1],
        "paused": opened.paused_path.exists(),
    }
    running = shown["programs"] and all(p["pid"] is not None for p in shown["programs"].values())
    if as_json:
        print_json(shown)
    else:
        click.echo(f"site {shown['site']}, coordinator {shown['coordinator'] or 'none joined'}")
        click.echo(f"up: {shown['up'] or 'no'}")
        for name, program in shown["programs"].items():
            state = "down" if program["pid"] is None else f"process {program['pid']}"
            click.echo(f"  {name}: {state}, started again {program['restarts']} times")
        if shown["paused"]:
            click.echo("paused: it refuses every query until `fedloom site pause --off`")
    if not running and as_json:
        raise click.exceptions.Exit(IncompleteError.exit_code)
    if not running:
        raise IncompleteError(
            f"not all programs run; start them with `fedloom site up --home {home}`, or see "
            f"{opened.path / 'logs'}"
        )


@click.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the units.")
@click.option("--user", help="Who runs the vault; by default who types this.")
@click.option("--node-user", required=True, help="Who runs the node, and that user's group.")
def service(home: Path, out: Path, user: str | None, node_user: str) -> None:
    """Write systemd units for vault, node and metrics, hardened services of two users.

    The node's folder is HOME.node beside the home: copies of node.pem, authority.crt and kit.json
    that belong to the node's user. Started by root, `site up --node-user` makes it.
    """
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig
    from fedloom.deployment.service_files import service_file

    opened = Home.open(home)
    path = opened.path.resolve()
    values: dict[str, str | Path] = {
        "site": SiteConfig.load(opened.config_path).name,
        "home": path,
        "node_home": path.with_name(f"{path.name}.node"),
        "node_user": node_user,
        "node_group": node_user,
    }
    if user is not None:
        values["user"] = user
    out.mkdir(parents=True, exist_ok=True)
    for name in ("vault", "node", "metrics"):
        text = service_file(f"{name}.service", **values)
        (out / f"fedloom-{name}.service").write_text(text, encoding="utf-8")
    click.echo(
        f"wrote {out}/fedloom-vault.service, {out}/fedloom-node.service and, for who has "
        f"[monitoring] in site.toml, {out}/fedloom-metrics.service"
    )
