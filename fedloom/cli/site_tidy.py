"""`fedloom site tidy`: delete frozen records that nothing can be answered from any more."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option

__all__ = ["tidy"]

_WHY = {
    "used-up": "its approval is used up",
    "revoked": "its approval is revoked",
    "never-signed": "its plan was never signed into the ledger",
    "half-written": "it was never finished",
}


@click.command()
@home_option
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@json_option
def tidy(home: Path, dry_run: bool, as_json: bool) -> None:
    """Delete frozen records whose approval has ended, and files that were never finished.

    A vault deletes the records of a used-up approval itself when its last run ends; this is for
    what a crash left behind. Keys, ledger, site.toml and approved plans stay. It needs the home for
    itself: stop the vault first, or look with --dry-run.
    """
    from fedloom.client.decisions import decided_ledger
    from fedloom.client.home import Home
    from fedloom.client.tidy import delete, leftovers
    from fedloom.privacy.ledger import read_ledger

    opened = Home.open(home)
    if dry_run:
        found = leftovers(opened, read_ledger(opened.path))
    else:
        with decided_ledger(opened) as ledger:
            found = leftovers(opened, ledger)
            delete(found)
    files = [
        {"path": str(leftover.path.relative_to(opened.path)), "why": leftover.why}
        for leftover in found
    ]
    if as_json:
        print_json({"home": str(home), "dry_run": dry_run, "files": files})
        return
    for file in files:
        word = "would delete" if dry_run else "deleted"
        click.echo(f"{word} {file['path']}: {_WHY[file['why']]}")
    if not files:
        click.echo("nothing is left over")
