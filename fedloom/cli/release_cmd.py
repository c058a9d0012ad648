"""`fedloom release`: builds a signed release from a run, and verifies one."""

from __future__ import annotations

from pathlib import Path

import click

from fedloom.cli.output import json_option, print_json

__all__ = ["release"]


@click.group()
def release() -> None:
    """A signed folder of synthetic data, generator, ledgers and privacy statement."""


@release.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--seed", type=click.IntRange(min=0), help="Makes the draw of rows repeatable.")
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

    folder = build_release(run, out, seed=seed, evidence=evidence)
    key = read_manifest(folder)["signer"]["public_key"]
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
@json_option
@click.pass_context
def verify(
    context: click.Context, folder: Path, key: str | None, evidence: Path | None, as_json: bool
) -> None:
    """Verify the release in the folder DIR, offline: exit code 0, or 4 if anything is wrong.

    Files, signatures and ledgers are checked, and epsilon is computed again from the events that
    the ledgers hold.
    """
    from fedloom.privacy.release.verify import check_release

    found = check_release(folder, key, evidence=evidence)
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
