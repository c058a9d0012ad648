"""`fedloom site web` and `fedloom coordinator web`: pages for people, on this machine alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedloom.cli.command_audit import note_home

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from fedloom.web.acts import Acts
    from fedloom.web.door import Door

__all__ = ["coordinator_web", "site_web"]

Command = TypeVar("Command", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path)
_SMALL_FORM_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Address:
    """Where a page is served, as the options say."""

    host: str
    port: int
    allow_network: bool


def _address_options(port: int) -> Callable[[Command], Command]:
    """Adds where a page is served."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--allow-network",
                is_flag=True,
                help="Let --host be reached from other machines, without TLS.",
            ),
            click.option(
                "--host", default="127.0.0.1", show_default=True, help="Address of this machine."
            ),
            click.option(
                "--port",
                type=click.IntRange(0, 65535),
                default=port,
                show_default=True,
                help="Port there; 0 for any that is free.",
            ),
        ):
            command = option(command)
        return command

    return add


@click.command("web")
@click.argument("home", type=_FOLDER, default=Path("."), metavar="[HOME]", callback=note_home)
@_address_options(8620)
def site_web(home: Path, host: str, port: int, allow_network: bool) -> None:
    """Serve the steward's page of HOME (this folder by default) until Ctrl-C.

    It prints a link that works once. On the page you read plans, approve or refuse them, see the
    budget and the runs, pause and revoke: what the commands do, by the same functions.
    """
    from fedloom.client.home import Home
    from fedloom.client.inbox import MAX_PLAN_BYTES
    from fedloom.web.acts import Acts
    from fedloom.web.site_app import SitePages

    opened = Home.open(home)
    _serve(
        lambda door: SitePages(opened, door).app(),
        Acts(home, "site", "web"),
        address=_Address(host=host, port=port, allow_network=allow_network),
        # A form's text is up to three times as long as what it says.
        max_body_bytes=3 * MAX_PLAN_BYTES,
    )


@click.command("web")
@click.argument("home", metavar="[DIR]", type=_FOLDER, default=Path("."), callback=note_home)
@_address_options(8621)
def coordinator_web(home: Path, host: str, port: int, allow_network: bool) -> None:
    """Serve the coordinator's page of DIR (this folder by default) until Ctrl-C.

    It prints a link that works once. On the page you see institutions, runs while they go on,
    certificates and releases, and stop a run: what the commands do, by the same functions.
    """
    from fedloom.server.provision.coordinator_home import CoordinatorHome
    from fedloom.web.acts import Acts
    from fedloom.web.coordinator_app import CoordinatorPages

    opened = CoordinatorHome.open(home)
    _serve(
        lambda door: CoordinatorPages(opened, door).app(),
        Acts(home, "coordinator", "web"),
        address=_Address(host=host, port=port, allow_network=allow_network),
        max_body_bytes=_SMALL_FORM_BYTES,
    )


def _serve(
    pages: Callable[[Door], ASGIApp], acts: Acts, *, address: _Address, max_body_bytes: int
) -> None:
    from fedloom.web.serve import NETWORK_WARNING, check_address, serve

    host = check_address(address.host, allow_network=address.allow_network)
    if address.allow_network:
        click.echo(f"Warning: {NETWORK_WARNING}", err=True)
    serve(
        pages,
        host=host,
        port=address.port,
        tell=click.echo,
        entering=lambda: acts.note("enter"),
        max_body_bytes=max_body_bytes,
    )
