"""`fedloom coordinator up`, `down`, `status` and `gateway`: a coordinator's servers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.command_audit import note_home
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.common.errors import IncompleteError
from fedloom.common.event_log import chosen_words, event, serve_events

if TYPE_CHECKING:
    from fedloom.server.provision.coordinator_home import CoordinatorHome

__all__ = ["coordinator_option", "down", "gateway", "status", "up"]

_START_S = 120.0
_LOOK_S = 0.3

coordinator_option = click.option(
    "--coordinator",
    "home",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default="this folder",
    callback=note_home,
    help="The coordinator's home.",
)


@click.command()
@coordinator_option
@click.option("--detach", is_flag=True, help="Go on in the background, once all answers.")
@click.option("--no-gateway", is_flag=True, help="Another proxy stands before the SuperLink.")
def up(home: Path, detach: bool, no_gateway: bool) -> None:
    """Run the coordinator's servers until SIGTERM, Ctrl-C or `coordinator down`.

    Flower's SuperLink listens on the loopback alone; institutions reach the gateway, which lets
    through what nodes need and nothing else. A server that ends is started again.
    """
    from fedloom.deployment.coordinator_programs import control_of, coordinator_programs
    from fedloom.deployment.supervisor import Supervisor
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    address = opened.settings().address
    if detach:
        words = ["--no-gateway"] if no_gateway else []
        with control_of(opened) as control:
            start_detached(
                ["coordinator", "up", "--coordinator", str(home.resolve()), *words],
                opened.logs / "up.log",
                ready=lambda: control.healthy() and is_up(opened),
            )
        click.echo(f"up at {address}")
        return
    monitoring = opened.settings().monitoring
    serve_events(monitoring.log_format, monitoring.log_level)
    supervisor = Supervisor(
        coordinator_programs(opened, gateway=not no_gateway),
        folder=opened.path,
        logs=opened.logs,
        tick=lambda: _register(opened),
        tell=lambda text: event("supervisor", detail=text),
    )
    event("serving", address=address)
    supervisor.run()
    event("down")


@click.command()
@coordinator_option
def down(home: Path) -> None:
    """End what `coordinator up` runs; a run that is under way can be resumed."""
    from fedloom.deployment.supervisor import end_supervisor
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    click.echo("down" if end_supervisor(opened.path) else "nothing was up")


@click.command(hidden=True)
@coordinator_option
def gateway(home: Path) -> None:
    """Serve the gateway alone; `coordinator up` starts it."""
    from fedloom.server.gateway import serve_gateway
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    monitoring = opened.settings().monitoring
    serve_events(monitoring.log_format, monitoring.log_level)
    serve_gateway(opened)


@click.command()
@coordinator_option
@json_option
def status(home: Path, as_json: bool) -> None:
    """Say what runs, and which institutions are connected.

    Exit code 5 if the SuperLink does not answer.
    """
    from fedloom.deployment.coordinator_programs import control_of
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    shown = describe(opened)
    if as_json:
        print_json(shown)
    else:
        _print(shown)
    if not shown["superlink"] and as_json:
        raise click.exceptions.Exit(IncompleteError.exit_code)
    if not shown["superlink"]:
        with control_of(opened) as control:
            control.check_certificate()
        raise IncompleteError(
            f"the SuperLink does not answer; start it with `fedloom coordinator up --coordinator "
            f"{home}`, or see {opened.logs}"
        )


def describe(home: CoordinatorHome) -> dict[str, Any]:
    """Returns how a coordinator stands: its programs, and each institution, online or not."""
    from fedloom.deployment.coordinator_programs import control_of
    from fedloom.deployment.supervisor import standing
    from fedloom.privacy.node_key import node_key_pem

    held = standing(home.path)
    with control_of(home) as control:
        answers = control.healthy()
        nodes = {node.public_key: node for node in control.nodes()} if answers else {}
    institutions = []
    for card in home.cards():
        node = nodes.get(node_key_pem(card.node_key))
        institutions.append(
            {
                "name": card.name,
                "fingerprint": card.fingerprint(),
                "registered": node is not None,
                "online": node is not None and node.online,
            }
        )
    return {
        "address": home.settings().address,
        "up": None if held is None else held[0].in_words,
        "programs": {} if held is None else held[1],
        "superlink": answers,
        "certificates": _certificates(home),
        "institutions": institutions,
    }


def _certificates(home: CoordinatorHome) -> dict[str, dict[str, Any]]:
    """Returns when the server's and the authority's certificate end, and whether that is soon."""
    from fedloom.privacy.certificate import WARN_DAYS, days_left, end_of

    files = {"server": home.server_certificate, "authority": home.authority.certificate}
    found = {}
    for name, path in files.items():
        end = end_of(path.read_bytes())
        left = days_left(end)
        found[name] = {"ends": f"{end:%Y-%m-%d}", "days": left, "soon": left < WARN_DAYS}
    return found


def is_up(home: CoordinatorHome) -> bool:
    """Whether every program of a coordinator serves and every institution is registered."""
    shown = describe(home)
    programs = shown["programs"].values()
    return (
        bool(programs)
        and ("gateway" not in shown["programs"] or _accepts(home))
        and all(program["pid"] is not None for program in programs)
        and all(institution["registered"] for institution in shown["institutions"])
    )


def _accepts(home: CoordinatorHome) -> bool:
    """Whether the gateway takes connections."""
    settings = home.settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.listen, settings.listen)
    try:
        with socket.create_connection((host, settings.port), timeout=1.0):
            return True
    except OSError:
        return False


def start_detached(words: list[str], log: Path, *, ready: Any) -> None:
    """Starts a command of fedloom in the background and waits until it is ready.

    Args:
      words: of the command.
      log: gets its output; its folder belongs to this process's user.
      ready: tells whether it is.

    Raises:
      IncompleteError: it ended, or was not ready in time.
    """
    from fedloom.client.flower_environment import flower_environment
    from fedloom.deployment.own_folder import OwnFolder

    environment = flower_environment(Path(os.environ.get("FLWR_HOME", log.parent)))
    logs = OwnFolder(log.parent)
    with logs.append(log.name) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedloom", *chosen_words(), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,
        )
    end = time.monotonic() + _START_S
    while not ready():
        if process.poll() is not None:
            last = logs.read(log.name).decode("utf-8", "replace").strip().splitlines()[-3:]
            raise IncompleteError(f"it ended at once: {' / '.join(last)}; see {log}")
        if time.monotonic() > end:
            process.terminate()
            raise IncompleteError(f"it was not ready within {_START_S:.0f} s; see {log}")
        time.sleep(_LOOK_S)


def _register(home: CoordinatorHome) -> None:
    """Registers the nodes of sites invited meanwhile; a SuperLink that is away is asked again."""
    from fedloom.deployment.coordinator_programs import register_institutions

    try:
        for name in register_institutions(home):
            event("registered", site=name)
    except IncompleteError as error:
        event("not-registered", level="warning", detail=str(error))


def _print(shown: dict[str, Any]) -> None:
    click.echo(f"address:   {shown['address']}")
    click.echo(f"up:        {shown['up'] or 'no'}")
    for name, program in shown["programs"].items():
        state = "down" if program["pid"] is None else f"process {program['pid']}"
        click.echo(f"  {name}: {state}, started again {program['restarts']} times")
    for name, certificate in shown["certificates"].items():
        if certificate["soon"]:
            option = " --authority" if name == "authority" else ""
            click.echo(
                f"WARNING: the {name}'s certificate ends on {certificate['ends']}, in "
                f"{certificate['days']} days; run `fedloom coordinator renew{option}`"
            )
    for institution in shown["institutions"]:
        registered = "registered" if institution["registered"] else "not registered"
        online = "online" if institution["online"] else "offline"
        click.echo(f"{institution['name']}: {registered}, {online}")
