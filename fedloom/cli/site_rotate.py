"""`fedloom site rotate`: new keys for a site, without losing its ledger."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option
from fedloom.common.errors import ConfigError, NotApprovedError
from fedloom.common.files import check_writable

__all__ = ["rotate"]


@click.command()
@home_option
@click.option("--signing", is_flag=True, help="The key that signs ledger and answers.")
@click.option("--exchange", is_flag=True, help="The key that masks parts of secure sums.")
@click.option("--node", is_flag=True, help="The key of the site's Flower node.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The new card, to send to the coordinator.",
)
@click.option("--yes", is_flag=True, help="Change without asking.")
@json_option
def rotate(
    home: Path, signing: bool, exchange: bool, node: bool, out: Path, yes: bool, as_json: bool
) -> None:
    """Give this site new keys: all, or those that are named. The ledger goes on.

    The old signing key signs an entry that names the new keys, so that coordinators and other
    sites that know it accept them. No run may be under way, and no vault may serve. Plans that
    were approved under the old keys no longer run. With --json nothing is asked, so it needs --yes.
    """
    from fedloom.client import rotation
    from fedloom.client.home import Home
    from fedloom.client.key_files import EXCHANGE, KEY, NODE
    from fedloom.client.membership import own_card

    if as_json and not yes:
        raise ConfigError("--json asks nothing; say --yes as well")
    wanted = {KEY: signing, EXCHANGE: exchange, NODE: node}
    which = [name for name, named in wanted.items() if named] or list(wanted)
    opened = Home.open(home)
    ending = rotation.plans_that_end(opened, which)
    if not as_json:
        click.echo(f"new keys: {', '.join(which)}")
        for plan, name in ending.items():
            click.echo(
                f"plan {plan[:12]} ({name}) is approved and no longer runs: it names the keys of "
                "before. Its approval ends; have the coordinator resolve the study again with the "
                "new keys, and approve the new plan"
            )
    if not yes and not _confirmed():
        raise NotApprovedError("no key was changed (--yes changes them without asking)")
    check_writable(out)
    rotation.rotate(opened, which)
    card = own_card(opened)
    card.save(out)
    if as_json:
        shown = {"card": str(out), "name": card.name, "fingerprint": card.fingerprint()}
        print_json({**shown, "changed": which, "ended": sorted(ending)})
        return
    click.echo(
        f"{card.name}: {card.fingerprint()}\nwrote {out}; send it to the coordinator, who runs "
        "`fedloom coordinator invite` and sends all sites the new kit\n"
        f"next: `fedloom site backup FILE --home {home}`; a backup from before has the old keys"
    )


def _confirmed() -> bool:
    """Asks the steward; an input that has ended says no."""
    try:
        return click.confirm("Change the keys?")
    except click.Abort:
        return False
