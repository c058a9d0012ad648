"""`fedloom site card` and `fedloom site join`: one file to the coordinator, one file back."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option
from fedloom.common.errors import ConfigError, NotApprovedError, PolicyError

__all__ = ["card", "join"]

_FILE = click.Path(path_type=Path)


@click.command()
@home_option
@click.option("--out", type=_FILE, required=True, help="The file to send to the coordinator.")
@json_option
def card(home: Path, out: Path, as_json: bool) -> None:
    """Write the site's card: its name and public keys, for the coordinator. It holds no secret."""
    from fedloom.client.home import Home
    from fedloom.client.membership import own_card

    opened = Home.open(home)
    opened.make_keys()
    own = own_card(opened)
    own.save(out)
    if as_json:
        print_json({"card": str(out), "name": own.name, "fingerprint": own.fingerprint()})
        return
    click.echo(f"{own.name}: {own.fingerprint()}\nwrote {out}; send it to the coordinator")


@click.command()
@click.argument("kit", type=_FILE)
@home_option
@click.option("--fingerprint", help="Of the kit, as another steward told you.")
@click.option("--yes", is_flag=True, help="Ask nothing; needs --fingerprint.")
@click.option(
    "--show", is_flag=True, help="Print the kit's fingerprint, to read out; join nothing."
)
@json_option
def join(
    kit: Path, home: Path, fingerprint: str | None, yes: bool, show: bool, as_json: bool
) -> None:
    """Join a federation with the KIT that its coordinator sent, and pin the other sites' keys.

    Every site was sent the same kit. So the stewards read its fingerprint to each other (--show),
    by telephone and not through the coordinator, who could have put keys of its own in yours. It is
    not shown while you type what another steward reads, so that nobody copies the line above.

    Nothing is asked where there is nothing to compare: this site has joined before, with the same
    coordinator, and every other site has the keys that are pinned or new ones which those vouch
    for.
    """
    from fedloom.client.home import Home
    from fedloom.client.membership import check_kit, no_longer_run
    from fedloom.client.membership import join as keep
    from fedloom.privacy.kit import Kit

    if show:
        offered = Kit.load(kit)
        click.echo(f"fingerprint of the kit: {offered.fingerprint()}")
        return
    opened, offered = Home.open(home), Kit.load(kit)
    offer = check_kit(opened, offered)
    if (yes or as_json) and fingerprint is None and not offer.proven:
        raise ConfigError(
            "--yes and --json ask nothing; give the kit's fingerprint, as another steward told it "
            "to you, with --fingerprint"
        )
    if not as_json:
        click.echo(f"coordinator: {offered.address}")
        for other in offered.sites:
            note = ", not pinned yet" if other in offer.new else ""
            note = ", new keys, handed on by those you pinned" if other in offer.changed else note
            click.echo(f"{other.name}: {other.fingerprint()}{note}")
        if offered.policy:
            click.echo(f"the coordinator proposes for [policy]:\n{offered.policy.rstrip()}")
    if fingerprint is None and offer.proven:
        click.echo("nothing to compare: what you pinned vouches for all of it", err=as_json)
        told = offered.fingerprint()
    else:
        told = fingerprint if fingerprint is not None else _ask()
    if _bare(told) != _bare(offered.fingerprint()):
        raise PolicyError(
            f"{told[:60]!r} is not this kit's fingerprint: another steward was sent another kit, "
            "or one of you misread; compare again what `fedloom site join KIT --show` prints at "
            "both, and if they differ believe neither"
        )
    kept = keep(opened, offered)
    pinned, changed = [card.name for card in kept.new], [card.name for card in kept.changed]
    ended = no_longer_run(opened)
    if as_json:
        shown = {"address": offered.address, "fingerprint": offered.fingerprint()}
        print_json({**shown, "pinned": pinned, "changed": changed, "ended": sorted(ended)})
        return
    click.echo(f"joined {offered.address}; pinned {', '.join(pinned) or 'nobody new'}")
    if changed:
        click.echo(f"new keys of {', '.join(changed)}")
    for plan, reason in ended.items():
        click.echo(
            f"plan {plan[:12]} is approved here and cannot run: {reason}\n"
            "`fedloom site revoke PLAN` frees what it holds"
        )


def _ask() -> str:
    """Has the steward type what another one reads; an input that has ended says nothing."""
    try:
        told: str = click.prompt(
            "Type the kit's fingerprint as another steward reads it to you, or nothing to stop",
            default="",
            show_default=False,
        )
    except click.Abort:
        told = ""
    if not told.strip():
        raise NotApprovedError("not joined; nothing was written")
    return told


def _bare(text: str) -> str:
    return "".join(text.split()).lower()
