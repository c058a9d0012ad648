"""`fedloom site backup`, `heads` and `restore`: what keeps a budget when a disk is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.site_plan import home_option
from fedloom.common.errors import ConfigError, NotApprovedError

if TYPE_CHECKING:
    from fedloom.client.restore import ApprovedSince, Lost

__all__ = ["backup", "heads", "restore"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@home_option
def backup(file: Path, home: Path) -> None:
    """Write keys, rules, approved plans and ledger of a home into FILE; no records.

    It may be done while the vault serves. FILE is as secret as the home.
    """
    from fedloom.client.backup import write_backup
    from fedloom.client.home import Home

    seq = write_backup(Home.open(home), file)
    click.echo(f"wrote {file}: the home of {home} up to entry {seq} of its ledger")
    click.echo("a home that is restored from it must first count what came later: site restore")


@click.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), help="A file; by default the screen.")
def heads(home: Path, out: Path | None) -> None:
    """Say how far other sites' ledgers have come, for a steward who must restore a home."""
    import msgspec

    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig
    from fedloom.privacy.ledger import read_ledger

    opened = Home.open(home)
    path = opened.config_path
    pinned = SiteConfig.load(path).peers.values() if path.exists() else ()
    former = {peer.key: peer.former_keys for peer in pinned}
    notes = read_ledger(opened.path).seen.notes(former)
    text = msgspec.json.format(msgspec.json.encode(notes)).decode() + "\n"
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@home_option
@click.option(
    "--heads",
    "notes",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A coordinator's heads.json, or what `site heads` wrote at another site; all there are.",
)
@click.option(
    "--since",
    multiple=True,
    help="PLAN or PLAN=RUNS: a plan.json that was approved here after the backup was made.",
)
@click.option(
    "--unseen",
    is_flag=True,
    help="Nobody can say how far this home's ledger had come: it has answered nobody, or all who "
    "saw it are gone.",
)
@click.option("--yes", is_flag=True, help="Count without asking.")
def restore(
    file: Path | None,
    home: Path,
    notes: tuple[Path, ...],
    since: tuple[str, ...],
    unseen: bool,
    yes: bool,
) -> None:
    """Restore a home from the backup FILE, or count what a home has lost that was put back.

    Whatever was approved at the time of the backup and not at its end, and every plan given with
    --since, counts in full and is closed. Give the heads that every coordinator and every other
    site knows: who knows a newer one refuses the home.
    """
    from fedloom.client.backup import unpack
    from fedloom.client.continuity import Continuity
    from fedloom.client.home import Home
    from fedloom.client.restore import count_lost, find_lost, read_notes
    from fedloom.client.vault_memory import memory_folder
    from fedloom.privacy.ledger import Ledger

    later = [_since(text) for text in since]
    opened = Home.open(home) if file is None else unpack(file, home)
    key = opened.private_key()
    with Ledger.open(opened.path, key) as ledger:
        continuity = Continuity(opened, ledger, key, memory_folder())
        try:
            found = [note for path in notes for note in read_notes(path, ledger.signing_keys)]
            own = continuity.mark()
            # The mark of a backup names a head of the copy itself, and tells nothing that is lost.
            told = own is not None and ledger.links(own.head) is None
            if not found and not told and not unseen:
                raise ConfigError(
                    "nothing given here knows this home: give what others know with --heads FILE, "
                    "the coordinators' heads.json and what `fedloom site heads` writes at the "
                    "other sites. If nobody can know it, say --unseen"
                )
            lost = find_lost(ledger, [*found, *([own] if own else [])], later)
            _explain(lost)
            if not yes and not click.confirm("Count this as spent?"):
                raise NotApprovedError("nothing was counted; this home answers nothing until then")
            count_lost(opened, ledger, lost)
        finally:
            continuity.close()
    click.echo(f"{home} answers again what is approved from now on; see fedloom budget show {home}")


def _explain(lost: Lost) -> None:
    click.echo(f"counted as spent: all up to entry {lost.until[-1]} of the ledger before")
    for plan in lost.plans:
        click.echo(f"  plan {plan[:12]}: all runs of its approval, which is closed")
    for one in lost.since:
        runs = "one run" if one.runs == 1 else f"{one.runs} runs"
        click.echo(f"  plan {one.plan.digest()[:12]} ({one.plan.name}): {runs}, approved since")


def _since(text: str) -> ApprovedSince:
    from fedloom.client.restore import ApprovedSince
    from fedloom.privacy.plan import Plan

    path, _, runs = text.partition("=")
    if runs and not (runs.isdigit() and int(runs) >= 1):
        raise ConfigError(f"--since {text}: expected PLAN or PLAN=RUNS with one run or more")
    return ApprovedSince(plan=Plan.load(Path(path)), runs=int(runs or 1))
