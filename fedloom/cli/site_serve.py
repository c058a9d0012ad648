"""`fedloom site serve` and `fedloom site node`: a site's two long-lived processes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from fedloom.cli.site_plan import home_option
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import ConfigError
from fedloom.common.event_log import event, serve_events
from fedloom.common.vocabulary import Status

__all__ = ["node", "serve"]

_FOLDER = click.Path(path_type=Path)


@click.command()
@home_option
@click.option(
    "--socket", type=_FOLDER, help="Where to serve; by default a path made of the home's."
)
@click.option("--shared", is_flag=True, help="The socket is for its folder's group too.")
@click.option("--device", help="cpu, cuda, cuda:1 or auto; by default what site.toml says.")
def serve(home: Path, socket: Path | None, shared: bool, device: str | None) -> None:
    """Open the vault and answer the node's requests until SIGTERM or Ctrl-C.

    The vault alone opens the records. It logs the address that the node needs.
    """
    from fedloom.client.link.sockets import default_socket
    from fedloom.client.message_audit import Handled, MessageAudit
    from fedloom.client.site_config import SiteConfig
    from fedloom.client.vault import Vault
    from fedloom.client.vault_server import serve_until_stopped

    monitoring = SiteConfig.monitoring_at(home / "site.toml")
    serve_events(monitoring.log_format, monitoring.log_level)
    audit = MessageAudit(AuditLog(home))

    def note(handled: Handled) -> None:
        audit(handled)
        entry = handled.entry()
        event(
            "message",
            level="info" if entry.outcome == Status.OK else "warning",
            code=entry.outcome,
            query=entry.query,
            run=entry.run,
            round=entry.round,
            attempt=entry.attempt,
        )

    with closing(audit), Vault.open(home, device=device, note=note) as vault:
        event("opened", site=vault.site)
        serve_until_stopped(
            vault,
            (socket or default_socket(home)).absolute(),
            ready=lambda address: event("serving", address=address),
            shared=shared,
        )
    event("closed")


@click.command()
@click.option(
    "--superlink", metavar="HOST:PORT", help="The coordinator; by default that of the joined kit."
)
@home_option
@click.option("--vault", help="Address that `fedloom site serve` logged, if not the home's own.")
@click.option("--flwr-home", type=_FOLDER, help="Flower's own folder; by default HOME/flower.")
@click.option("--port", type=int, help="Loopback port for Flower's processes; else a free one.")
@click.option(
    "--root-certificates",
    type=_FOLDER,
    help="The authority behind the coordinator; by default that of the joined kit.",
)
@click.option(
    "--private-key",
    type=_FOLDER,
    help="Key that proves the node to the coordinator; by default the home's node.pem.",
)
@click.option("--insecure", is_flag=True, help="Without TLS, to this machine only.")
@click.option("--poll", type=click.FloatRange(0.05, 60), default=3.0, help="Seconds between looks.")
def node(
    superlink: str | None,
    home: Path,
    vault: str | None,
    flwr_home: Path | None,
    port: int | None,
    root_certificates: Path | None,
    private_key: Path | None,
    insecure: bool,
    poll: float,
) -> None:
    """Connect the vault to a coordinator: Flower's SuperNode, which runs fedloom's bundle only.

    Code that a coordinator submits is refused; what runs is the fedloom installed here.
    """
    from fedloom.client.flower_environment import free_port
    from fedloom.client.home import Home
    from fedloom.client.link.sockets import default_socket
    from fedloom.client.membership import kit_of
    from fedloom.client.node import NodeOptions, run_node

    kit = kit_of(home)
    if superlink is None and kit is None:
        raise ConfigError(
            f"{home} has joined no federation; run `fedloom site join KIT --home {home}` with the "
            "kit that the coordinator sends, or give --superlink HOST:PORT"
        )
    joined = Home(home)
    if not insecure and kit is not None:
        root_certificates = root_certificates or joined.authority_path
        private_key = private_key or joined.node_key_path
    run_node(
        NodeOptions(
            superlink=superlink or (kit.address if kit is not None else ""),
            vault=vault or f"unix:{default_socket(home).absolute()}",
            flwr_home=(flwr_home or home / "flower").absolute(),
            port=port or free_port(),
            root_certificates=root_certificates,
            private_key=private_key,
            insecure=insecure,
            poll_s=poll,
        )
    )
