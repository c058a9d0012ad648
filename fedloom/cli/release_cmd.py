"""`fedloom release`: builds a signed release from a run, verifies one, compares two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from fedloom.cli.command_audit import note_command
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json

if TYPE_CHECKING:
    from fedloom.privacy.drift.result import Drift
    from fedloom.privacy.release.verify.generator import Refit

__all__ = ["release"]


@click.group()
def release() -> None:
    """A signed folder of synthetic data, generator, ledgers and privacy statement."""


@release.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Of the rows; else it follows from plan and run."
)
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    help="Folder to make for each site's own signed part of every round.",
)
def build(run: Path, out: Path, seed: int | None, evidence: Path | None) -> None:
    """Build the release of the finished run in the folder RUN.

    Everything in it is post-processing: building costs no privacy.
    """
    from fedloom.privacy.release import build_release
    from fedloom.privacy.release.manifest import read_manifest
    from fedloom.server.run_folder import RunFolder

    begun = RunFolder(run)
    home = begun.state().get("coordinator") if begun.exists() else None
    if home is not None:  # whose key signs
        note_command(Path(home))
    folder = build_release(run, out, seed=seed, evidence=evidence)
    key = read_manifest(folder).signer.public_key
    click.echo(
        f"release:  {folder}\n"
        f"report:   {folder / 'report.html'}\n"
        f"verify:   fedloom release verify {folder} --key {key}"
        + (f" --evidence {evidence}" if evidence is not None else "")
    )


@release.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--key", help="The publisher's public key, from elsewhere than the release.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path),
    help="Folder of each site's own signed part of every round, to check as well.",
)
@click.option("--quick", is_flag=True, help="Do not draw the rows again from the generator.")
@click.option(
    "--refit",
    is_flag=True,
    help="Fit the generator again from the answers; a vae or gan needs torch.",
)
@json_option
@click.pass_context
def verify(
    context: click.Context,
    folder: Path,
    key: str | None,
    evidence: Path | None,
    quick: bool,
    refit: bool,
    as_json: bool,
) -> None:
    """Verify the release in the folder DIR, offline: exit code 0, or 4 if anything is wrong.

    Files, signatures, ledgers and opened sums are checked, epsilon is computed again from the
    events that the ledgers hold, and the rows are drawn again from the generator. With --refit the
    generator is fitted again from the answers; one that was trained takes --evidence for it.
    """
    from fedloom.privacy.release.verify import check_release

    with _RowsShown() as shown:
        found = check_release(
            folder,
            key,
            evidence=evidence,
            quick=quick,
            refit=_fits() if refit else None,
            on_progress=shown.update,
        )
    if as_json:
        print_json({"release": str(folder), **found.to_dict()})
        context.exit(0 if found.ok else 4)
    words = {True: "ok    ", False: "FAILED", None: "-     "}
    for check in found.checks:
        click.echo(f"{words[check.ok]}  {check.name}: {check.detail}")
    for note in found.notes:
        click.echo(f"note    {note}")
    if found.fingerprint is not None:
        click.echo(f"signer  {found.public_key}\n        fingerprint {found.fingerprint}")
    if not found.ok:
        click.echo(f"Error: {found.failure}", err=True)
        context.exit(4)
    if found.signer_checked:
        click.echo("This release is what its publisher signed, and its price is as stated.")
    else:
        click.echo("Unchanged since signing; signer not checked: give --key to check it.")


@release.command()
@click.argument("new", metavar="NEW", type=click.Path(path_type=Path))
@click.argument("old", metavar="OLD", type=click.Path(path_type=Path))
@json_option
def drift(new: Path, old: Path, as_json: bool) -> None:
    """Tell which columns of the release NEW have moved away from those of the release OLD.

    The first noisy counts of both are compared; their noise is known exactly. Nothing is asked of
    any site and no privacy is spent. Neither release is verified: see `fedloom release verify`.
    """
    from fedloom.consumer import Release

    found = Release(new).drift(old)
    if as_json:
        print_json({"new": str(new), "old": str(old), **found.to_dict()})
        return
    _show_drift(found)


def _show_drift(found: Drift) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    table.add_column("column", overflow="fold")
    for name in ("distance", "by chance", "std. error", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for one in found.columns:
        told = one.distance
        numbers = ["hidden", "", "", ""]
        if told is not None:
            numbers = [f"{x:.3f}" for x in (told.value, told.by_chance, told.std_error)]
            numbers.append(f"{told.p_value:.2g}")
        table.add_row(one.column, *numbers, one.verdict)
    console.print(table)
    click.echo(
        "distance: share of records that would have to move between groups of values; by chance: "
        "its mean if nothing has changed but noise and who was sampled; std. error: its deviation "
        "then."
    )
    if found.not_compared:
        click.echo(f"Not compared, as values differ: {', '.join(found.not_compared)}")
    new, old = (f"{number:,.0f}" for number in found.records)
    click.echo(f"About {new} records against {old}; no privacy was spent.")


def _fits() -> Refit:
    """Returns what fits generators; only whoever asks for it needs torch."""
    from fedloom.server.refit import refit

    return refit


class _RowsShown:
    """Shows on a terminal how many rows have been looked at; for use as a context manager."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        self._progress = Progress(
            *columns, "rows", console=console, transient=True, disable=not console.is_terminal
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _RowsShown:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, check: str, rows: int, total: int) -> None:
        """Shows that a check has looked at so many rows."""
        if check not in self._tasks:
            self._tasks[check] = self._progress.add_task(check, total=total)
        self._progress.update(self._tasks[check], completed=rows)
