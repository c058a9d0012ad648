"""`fedloom coordinator`: the commands of whoever asks the sites."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fedloom.cli.audit_cmd import audit_log
from fedloom.cli.command_audit import note_home
from fedloom.cli.coordinator_metrics import health, metrics
from fedloom.cli.coordinator_up import coordinator_option, down, gateway, status, up
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.web_cmd import coordinator_web

__all__ = ["coordinator"]

_FOLDER = click.Path(path_type=Path)


@click.group()
def coordinator() -> None:
    """Be a federation's coordinator: its key, its certificates, its servers."""


for _command in (up, down, status, gateway, audit_log, health, metrics, coordinator_web):
    coordinator.add_command(_command)


@coordinator.command()
@click.argument("file", type=_FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the key as JSON.")
def keygen(file: Path, as_json: bool) -> None:
    """Make the key FILE if it is missing, and print its public half for the study.

    The key signs every request to the sites, and the release. Who has the file can ask the sites
    for all that their stewards approved. A coordinator's home has such a key, coordinator.key.
    """
    from fedloom.privacy.keys import fingerprint, generate_key, load_private_key, public_key_hex

    key = public_key_hex(load_private_key(file) if file.exists() else generate_key(file))
    if as_json:
        click.echo(json.dumps({"key": key, "fingerprint": fingerprint(key)}, indent=2))
    else:
        click.echo(f'[coordinator]\nkey = "{key}"  # {fingerprint(key)}')


@coordinator.command()
@click.argument("folder", type=_FOLDER, callback=note_home)
@click.option("--host", required=True, help="Name or address at which institutions reach it.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8443,
    show_default=True,
    help="Port at which institutions reach it.",
)
@click.option("--listen", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option(
    "--superlink-port",
    type=click.IntRange(1, 65535),
    help="Port of the loopback for Flower's SuperLink; by default the one after --port.",
)
@json_option
def init(
    folder: Path, host: str, port: int, listen: str, superlink_port: int | None, as_json: bool
) -> None:
    """Make FOLDER the home of a federation's coordinator: keys, certificates, service files."""
    from fedloom.deployment.service_files import service_file
    from fedloom.privacy.keys import fingerprint, public_key_hex
    from fedloom.server.provision.certificates import certificate_fingerprint
    from fedloom.server.provision.coordinator_home import CoordinatorHome, CoordinatorSettings

    settings = CoordinatorSettings(
        host=host, port=port, listen=listen, superlink_port=superlink_port or _next_port(port)
    )
    path = folder.resolve()
    unit = service_file("coordinator.service", home=path, writable=path)
    proxy = service_file(
        "nginx.conf",
        home=path,
        host=host,
        port=port,
        listen=listen,
        superlink_port=settings.superlink_port,
    )
    home = CoordinatorHome.create(folder, settings)
    (folder / "fedloom-coordinator.service").write_text(unit, encoding="utf-8")
    (folder / "nginx.conf").write_text(proxy, encoding="utf-8")
    key = public_key_hex(home.key())
    authority = certificate_fingerprint(home.authority.certificate.read_bytes())
    if as_json:
        print_json(
            {
                "home": str(folder),
                "address": settings.address,
                "key": key,
                "fingerprint": fingerprint(key),
                "authority": authority,
            }
        )
        return
    click.echo(
        f"made {folder}: institutions will reach it at {settings.address}\n"
        f'for the study:\n[coordinator]\nkey = "{key}"  # {fingerprint(key)}\n'
        f"certificate authority: {authority}\n"
        f"next: `fedloom coordinator up --coordinator {folder}`, or the unit "
        f"{folder / 'fedloom-coordinator.service'}; then `fedloom coordinator invite CARD...` with "
        "the cards that stewards send"
    )


@coordinator.command()
@coordinator_option
@click.option(
    "--authority",
    is_flag=True,
    help="Give the certificate authority a new certificate first, for the same key.",
)
def renew(home: Path, authority: bool) -> None:
    """Issue the server's certificate anew, for the host that coordinator.toml names.

    It holds for 397 days, and no longer than the authority's, which holds for ten years. With
    --authority institutions need a new kit before the old certificate of the authority ends; until
    then they go on with it.
    """
    from fedloom.privacy.certificate import end_of
    from fedloom.server.provision.certificates import renew_authority
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    host = opened.settings().host
    if authority:
        ends = end_of(opened.authority.certificate.read_bytes())
        renew_authority(opened.authority)
        click.echo(
            f"issued {opened.authority.certificate}; send all sites a new kit (`fedloom "
            f"coordinator invite`), with which they join before {ends:%Y-%m-%d}"
        )
    opened.issue_certificate(host)
    end = end_of(opened.server_certificate.read_bytes())
    click.echo(
        f"issued {opened.server_certificate} for {host}, until {end:%Y-%m-%d}; it is used once "
        "`fedloom coordinator down` and `up` have run"
        + ("" if authority else ", and institutions change nothing")
    )


@coordinator.command()
@click.argument("cards", type=_FOLDER, nargs=-1, required=True)
@coordinator_option
@click.option("--out", type=_FOLDER, required=True, help="The kit, one file for all sites.")
@click.option("--policy", type=_FOLDER, help="A text with rules that you propose for [policy].")
@click.option(
    "--replace",
    is_flag=True,
    help="A site has new keys that its old ones do not vouch for; its steward told you.",
)
@json_option
def invite(
    cards: tuple[Path, ...],
    home: Path,
    out: Path,
    policy: Path | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Take in the sites of CARDS, and write the kit that goes to every site.

    A card is what `fedloom site card` writes. The kit holds no secret; it is the same for all
    sites, those that were invited earlier too. Without a change CARDS may be given again. The new
    card of a site that has changed its keys (`fedloom site rotate`) is taken if the keys that are
    known here have handed on to it; its node is registered with the new key.
    """
    from fedloom.common.errors import ConfigError
    from fedloom.privacy.card import SiteCard
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened = CoordinatorHome.open(home)
    offered = [SiteCard.load(path) for path in cards]
    changed = [card for card in offered if opened.invite(card, replace=replace)]
    try:
        rules = "" if policy is None else policy.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{policy} must be a text in UTF-8") from error
    kit = opened.kit(rules)
    kit.save(out)
    if as_json:
        names = {card.name: card.fingerprint() for card in kit.sites}
        shown = {"kit": str(out), "fingerprint": kit.fingerprint(), "sites": names}
        print_json({**shown, "changed": [card.name for card in changed]})
        return
    for card in kit.sites:
        note = ", new keys, handed on by those known here" if card in changed else ""
        click.echo(f"{card.name}: {card.fingerprint()}{note}")
    if changed:
        click.echo(
            "plans that name the old keys no longer run: resolve their studies again with the new "
            "keys, and have the new plans approved"
        )
    click.echo(
        f"wrote {out}, fingerprint {kit.fingerprint()}\n"
        "send it to every site; each runs `fedloom site join`, and the stewards compare this "
        "fingerprint with each other"
    )


@coordinator.command()
@coordinator_option
@click.option("--out", type=_FOLDER, required=True, help="The new kit, one file for all sites.")
@click.option("--yes", is_flag=True, help="Change without asking.")
@json_option
def rotate(home: Path, out: Path, yes: bool, as_json: bool) -> None:
    """Give this coordinator a new signing key, and write the kit that says so.

    The old key signs for the new one, so that sites which joined under it take the new kit without
    a telephone call, and releases under the new key verify for whoever knows the old one. Runs that
    were begun go on under the old key; plans that were not begun no longer run. With --json nothing
    is asked, so it needs --yes.
    """
    from fedloom.common.errors import ConfigError, NotApprovedError
    from fedloom.common.files import check_writable
    from fedloom.privacy.keys import fingerprint
    from fedloom.server.provision.coordinator_home import CoordinatorHome
    from fedloom.server.provision.new_signing_key import rotate_signing_key

    if as_json and not yes:
        raise ConfigError("--json asks nothing; say --yes as well")
    opened = CoordinatorHome.open(home)
    if not yes and not _confirmed():
        raise NotApprovedError("the key was not changed (--yes changes it without asking)")
    check_writable(out)
    handover = rotate_signing_key(opened.key_path)
    kit = opened.kit()
    kit.save(out)
    if as_json:
        shown = {"kit": str(out), "key": handover.new, "fingerprint": fingerprint(handover.new)}
        print_json({**shown, "former": list(kit.former_coordinator_keys)})
        return
    click.echo(
        f'for studies:\n[coordinator]\nkey = "{handover.new}"  # {fingerprint(handover.new)}\n'
        f"wrote {out}; send it to every site, which joins with it and is asked nothing if that is "
        "its only news. Resolve again what is to run, and have the new plans approved"
    )


def _confirmed() -> bool:
    """Asks the coordinator; an input that has ended says no."""
    try:
        return click.confirm(
            "Plans that name the old key no longer run, unless their run was begun. Change the key?"
        )
    except click.Abort:
        return False


def _next_port(port: int) -> int:
    return port + 1 if port < 65535 else port - 1
