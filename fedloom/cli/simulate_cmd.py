"""`fedloom simulate`: a whole federation on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.command_audit import note_command
from fedloom.cli.options import clamp_options, name_value_pairs
from fedloom.cli.progress import RunProgress
from fedloom.cli.source_options import site_source_options, site_sources

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan
    from fedloom.server.run_folder import RunFolder

__all__ = ["simulate"]


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@site_source_options
@click.option(
    "--home",
    "homes",
    multiple=True,
    metavar="NAME=DIR",
    help="Use this existing home for site NAME; its ledger is kept.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run's folder.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
@click.option("--limit", type=float, help="Lifetime epsilon of the homes made here.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 or auto.")
@clamp_options
@click.option(
    "--coordinator-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The key that the study names; by default the run makes its own.",
)
@click.option("--insecure-seed", type=int, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def simulate(
    study: Path,
    sites: tuple[str, ...],
    sources: tuple[str, ...],
    dialect: dict[str, Any],
    homes: tuple[str, ...],
    out: Path,
    resume: bool,
    limit: float | None,
    device: str,
    clamp: bool,
    clamp_columns: tuple[str, ...],
    coordinator_key: Path | None,
    insecure_seed: int | None,
    as_json: bool,
) -> None:
    """Run STUDY with all its sites on this machine, in one process.

    STUDY is a study.toml, or a plan.json: then the plan is rehearsed, with the same noise, between
    homes and keys of its own; nothing is signed with a key that the plan names.

    Each site has its own home, ledger and vault, as in a deployment. Homes created here are
    marked as rehearsals and approved automatically.

    --site NAME=HOME reads the records as HOME/site.toml says. It is a rehearsal all the same: the
    ledger is one of its own under --out, and that of HOME is neither opened nor charged. What a
    rehearsal makes of real records is for this machine; a run that counts is in the homes
    themselves, by --home NAME=DIR.
    """
    from fedloom.cli.learned_output import print_learned
    from fedloom.server.run_folder import RunFolder
    from fedloom.simulation import homes_elsewhere, load_simulated, prepare, run_prepared

    started = time.monotonic()
    simulated = load_simulated(study)
    if simulated.plan is not None and not as_json:
        click.echo(
            f"rehearsal of plan {simulated.plan.digest()[:12]}: with its noise, and keys of its "
            "own; no key that the plan names signs anything"
        )
    given = {name: Path(path) for name, path in name_value_pairs(homes, "--home").items()}
    for home in homes_elsewhere(RunFolder(out), given).values():
        note_command(home)
    with RunProgress(quiet=as_json) as progress:
        folder = prepare(
            simulated.study,
            simulated.schema,
            site_sources(sites, sources, dialect),
            out=out,
            homes=given,
            rehearsed=simulated.plan,
            where=study,
            limit=limit,
            resume=resume,
            clamp=clamp,
            clamp_columns=clamp_columns,
            coordinator_key=coordinator_key,
            insecure_seed=insecure_seed,
        )
        plan = folder.plan()
        progress.plan(plan)
        run_prepared(folder, device=device, insecure_seed=insecure_seed, on_event=progress)
    result = _result(folder, simulated.plan, seconds=round(time.monotonic() - started, 1))
    if as_json:
        click.echo(json.dumps(result, indent=2))
    elif plan.learns_schema:
        print_learned(result)
    else:
        click.echo(_in_words(plan, result))


def _result(folder: RunFolder, rehearsed: Plan | None, *, seconds: float) -> dict[str, Any]:
    """What a finished run cost and where it lies, as JSON-able values."""
    from fedloom.cli.learned_output import learned_summary
    from fedloom.privacy.plan_size import noise_warnings

    plan, runs = folder.plan(), folder.priced_runs()
    price = plan.price(runs)
    result = {
        "run": str(folder.path),
        "state": folder.state()["state"],
        "study": plan.study_digest,
        "plan": plan.digest(),
        "epsilon": price.epsilon,
        "epsilon_rdp": price.epsilon_rdp,
        "delta": plan.delta,
        "runs": runs,
        "sites": [site.name for site in plan.sites],
        "warnings": noise_warnings(plan),
        "seconds": seconds,
    }
    if rehearsed is not None:
        result["rehearsal_of"] = rehearsed.digest()
    return result | learned_summary(folder.path) if plan.learns_schema else result


def _in_words(plan: Plan, result: Mapping[str, Any]) -> str:
    from fedloom.privacy.release.schema_price import with_the_schema

    runs, out = result["runs"], result["run"]
    several = "" if runs == 1 else f", {runs} runs together"
    whole = with_the_schema(plan, runs)
    learned = (
        f", epsilon {whole['epsilon']:.4g} at delta {whole['delta']:g} with what its schema cost"
        if plan.schema.learned
        else ""
    )
    return (
        f"done in {result['seconds']:.0f} s: epsilon {result['epsilon']:.4g} at delta "
        f"{plan.delta:g} for one {plan.privacy.unit} at each of {len(plan.sites)} "
        f"sites{several}{learned}\nsamples:  fedloom sample {out} --rows 1000 --out synthetic.csv\n"
        f"release:  fedloom release build {out} --out release"
    )
