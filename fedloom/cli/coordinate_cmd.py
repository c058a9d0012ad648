"""`fedloom coordinate`, `watch`, `stop` and `runs`: a study across institutions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from fedloom.cli.command_audit import note_command
from fedloom.cli.coordinator_up import coordinator_option
from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.progress import RunProgress
from fedloom.common.errors import ConfigError

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan
    from fedloom.server.provision.coordinator_home import CoordinatorHome
    from fedloom.server.run_folder import RunFolder

__all__ = ["coordinate", "runs", "stop", "watch"]

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("plan", type=_FOLDER)
@click.option("--out", type=_FOLDER, required=True, help="The run's folder.")
@coordinator_option
@click.option(
    "--receipt",
    "receipts",
    type=_FOLDER,
    multiple=True,
    help="An approval that a steward sent; kept, so each is given once.",
)
@click.option("--resume", is_flag=True, help="Go on with a run, or follow one that goes on.")
@click.option("--detach", is_flag=True, help="Begin and do not follow; `fedloom watch` does.")
@json_option
def coordinate(
    plan: Path,
    out: Path,
    home: Path,
    receipts: tuple[Path, ...],
    resume: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Run PLAN across the institutions that approved it, and follow it to its end.

    The servers must be up (`fedloom coordinator up`). Sites whose receipts are there have
    approved; the others are asked, and if one refuses, nothing is spent anywhere. Ctrl-C ends the
    following, not the run.
    """
    from fedloom.deployment.coordinated_run import begin, prepare_run
    from fedloom.privacy.plan import Plan
    from fedloom.privacy.receipt import Receipt
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    opened, agreed = CoordinatorHome.open(home), Plan.load(plan)
    for path in receipts:
        receipt = Receipt.load(path)
        receipt.check(agreed)
        opened.keep_receipt(receipt)
    folder = prepare_run(opened, agreed, out, resume=resume, beside=plan.parent)
    if not as_json:
        _say_who_approved(opened, agreed)
    begin(opened, folder)
    if detach:
        if as_json:
            print_json({"run": str(out), "state": "begun"})
        else:
            click.echo(f"begun; `fedloom watch {out}` shows it, `fedloom stop {out}` ends it")
        return
    _follow(opened, folder, as_json=as_json)


@click.command()
@click.argument("run", type=_FOLDER)
@click.option("--once", is_flag=True, help="Show how it stands now, and end.")
@json_option
def watch(run: Path, once: bool, as_json: bool) -> None:
    """Show how RUN stands, by institution, and follow it to its end.

    The exit code is the run's. With --json it is shown once.
    """
    from fedloom.deployment.run_standing import coordinator_of, online_institutions, run_standing
    from fedloom.server.run_folder import RunFolder

    folder = RunFolder.open(run)
    home = coordinator_of(folder)
    standing = run_standing(folder, None if home is None else online_institutions(home))
    if as_json:
        print_json(standing)
        return
    _print_standing(standing)
    if once or standing["state"] != "running" or home is None:
        return
    _follow(home, folder, as_json=False)


@click.command()
@click.argument("run", type=_FOLDER)
def stop(run: Path) -> None:
    """End the coordinator of RUN; `coordinate --resume` goes on later, nothing is spent twice."""
    from fedloom.deployment.coordinated_run import stop as end
    from fedloom.deployment.run_standing import coordinator_of
    from fedloom.server.run_folder import RunFolder

    folder = RunFolder.open(run)
    home = coordinator_of(folder)
    if home is None:
        raise ConfigError(f"{run} is a simulation; it ends with its own command, by Ctrl-C")
    note_command(home.path)
    click.echo("stopped" if end(home, folder) else "nobody works in it")


@click.command()
@coordinator_option
@json_option
def runs(home: Path, as_json: bool) -> None:
    """List the runs of a coordinator's home, the newest last."""
    from fedloom.deployment.run_standing import run_standing
    from fedloom.server.provision.coordinator_home import CoordinatorHome
    from fedloom.server.run_folder import RunFolder

    folders = [RunFolder(path) for path in CoordinatorHome.open(home).runs()]
    standings = [run_standing(folder, None) for folder in folders if folder.exists()]
    if as_json:
        print_json(standings)
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "study", "state", "round", "epsilon"):
        table.add_column(title, overflow="fold")
    for standing in standings:
        table.add_row(
            standing["run"],
            standing["study"],
            standing["state"],
            f"{standing['round']} of {standing['rounds']}",
            f"{standing['epsilon']:.4g}",
        )
    Console().print(table)


def _follow(home: CoordinatorHome, folder: RunFolder, *, as_json: bool) -> None:
    from fedloom.deployment.coordinated_run import follow, raise_failure

    started, plan = time.monotonic(), folder.plan()
    try:
        with RunProgress(quiet=as_json) as progress:
            progress.plan(plan)
            raise_failure(follow(home, folder, progress))
    except KeyboardInterrupt:
        click.echo(
            f"the run goes on without this command; `fedloom watch {folder.path}` shows it, "
            f"`fedloom stop {folder.path}` ends it",
            err=True,
        )
        raise
    price = plan.price(folder.priced_runs())
    if as_json:
        print_json(
            {
                "run": str(folder.path),
                "state": "done",
                "plan": plan.digest(),
                "epsilon": price.epsilon,
                "delta": plan.delta,
                "sites": [site.name for site in plan.sites],
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        return
    click.echo(
        f"done in {time.monotonic() - started:.0f} s: epsilon {price.epsilon:.4g} at delta "
        f"{plan.delta:g} for one {plan.privacy.unit} at each of {len(plan.sites)} sites\n"
        f"release:  fedloom release build {folder.path} --out release"
    )


def _say_who_approved(home: CoordinatorHome, plan: Plan) -> None:
    there = home.receipts_for(plan)
    missing = [site.name for site in plan.sites if site.name not in there]
    if missing:
        click.echo(f"no receipt of {', '.join(missing)}: they are asked whether they approved")
    else:
        click.echo(f"all {len(there)} sites sent their receipts")


def _print_standing(standing: dict[str, Any]) -> None:
    click.echo(f"{standing['study']}, plan {standing['plan'][:12]}: {standing['state']}")
    if standing["message"]:
        click.echo(standing["message"])
    if standing["coordinator"]:
        click.echo(f"coordinator: {standing['coordinator']}")
    click.echo(f"round {standing['round']} of {standing['rounds']}")
    table = Table(box=None, pad_edge=False)
    for title in ("site", "online", "approved", "last round", "epsilon"):
        table.add_column(title)
    for site in standing["sites"]:
        table.add_row(
            site["name"],
            _word(site["online"]),
            _word(site["approved"]),
            "-" if site["last_round"] is None else str(site["last_round"]),
            "-" if site["epsilon"] is None else f"{site['epsilon']:.3f}",
        )
    Console().print(table)


def _word(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"
