"""`fedloom ledger`: verifies the ledger in a site's home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

__all__ = ["ledger"]


@click.group()
def ledger() -> None:
    """The record of everything that left a site, and what it cost."""


@ledger.command()
@click.argument("home", metavar="SITE_HOME", type=click.Path(path_type=Path))
@click.option(
    "--release",
    "releases",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A release whose ledger head must still be in the chain; repeat.",
)
@json_option
def verify(home: Path, releases: tuple[Path, ...], as_json: bool) -> None:
    """Verify the ledger in SITE_HOME: exit code 0, or 4 if it is damaged or was cut.

    Chain, signatures and rules are checked, and every reservation is priced again. With
    --release, the ledger must also still hold the entry at which that release saw it.
    """
    from fedloom.common.errors import LedgerError
    from fedloom.privacy.keys import fingerprint
    from fedloom.privacy.ledger import read_ledger
    from fedloom.privacy.release.manifest import release_heads

    view = read_ledger(home)
    view.verify()
    held: list[dict[str, Any]] = []
    for release in releases:
        heads = release_heads(release)
        if view.site not in heads:
            raise LedgerError(
                f"{release} holds no ledger of {view.site}, only of {', '.join(sorted(heads))}; "
                "name a release in which this site took part"
            )
        seq, entry_hash = heads[view.site]
        if not view.contains_head(seq, entry_hash):
            raise LedgerError(
                f"{release} saw the ledger of {view.site} at entry {seq}, {entry_hash[:12]}…, and "
                f"the chain in {home} does not hold that entry: the ledger was cut or replaced; "
                "restore the home from a backup that is not older than the release"
            )
        held.append({"release": str(release), "seq": seq, "hash": entry_hash})
    seq, head = view.head
    if as_json:
        print_json(
            {
                "ok": True,
                "site": view.site,
                "public_key": view.public_key,
                "fingerprint": fingerprint(view.public_key),
                "former_keys": list(view.former_keys),
                "head": {"seq": seq, "hash": head},
                "releases": held,
            }
        )
        return
    click.echo(f"The ledger of {view.site} is whole: {seq + 1} entries, chain and signatures hold.")
    click.echo(f"head    {head}\nsigner  {view.public_key}")
    click.echo(f"        fingerprint {fingerprint(view.public_key)}")
    for key in view.former_keys:
        click.echo(f"before  {key}\n        fingerprint {fingerprint(key)}, handed on")
    for entry in held:
        click.echo(f"release {entry['release']}: its head, entry {entry['seq']}, is in the chain")
