"""`fedloom demo`: the main job on real data, from six tables to a signed release."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from fedloom.cli.progress import RunProgress
from fedloom.common.errors import ConfigError

__all__ = ["demo"]

_EXAMPLE = "examples/rand"
_DEFAULT_OUT = "fedloom-demo"


@click.command()
@click.option("--deploy", is_flag=True, help="through real Flower processes on this machine")
@click.option("--out", type=click.Path(path_type=Path), help="a new folder for run and release")
@click.option("--json", "as_json", is_flag=True, help="print the result as JSON")
def demo(deploy: bool, out: Path | None, as_json: bool) -> None:
    """Six real sites publish one synthetic table together.

    The RAND Health Insurance Experiment: 5,912 people with a row for each of up to five years, at
    six sites, in the public domain. The sites train one generator, which protects each person with
    all rows, by sums that only open together; the result is a signed release.
    """
    from fedloom.common.resources import resource_path
    from fedloom.common.study import load_study
    from fedloom.privacy.release import build_release
    from fedloom.simulation import prepare, run_prepared

    started = time.monotonic()
    example = resource_path(_EXAMPLE)
    target = _fresh(out)
    agreed, schema = load_study(example / "study.toml")
    tables = {entry.name: example / f"{entry.name}.csv.gz" for entry in agreed.sites}
    if not as_json:
        click.echo(f"study {agreed.name!r}: {len(tables)} sites, model {agreed.model['kind']}")
    with RunProgress(quiet=as_json) as progress:
        folder = prepare(agreed, schema, tables, out=target / "run", homes={})
        progress.plan(folder.plan())
        if deploy:
            from fedloom.deployment import deploy_run

            deploy_run(folder.path, on_event=progress)
        else:
            run_prepared(folder, on_event=progress)
    release = build_release(folder.path, target / "release")
    price = folder.plan().body["price"]
    result = {
        "run": str(folder.path),
        "release": str(release),
        "report": str(release / "report.html"),
        "epsilon": price["epsilon"],
        "delta": price["delta"],
        "seconds": round(time.monotonic() - started, 1),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(
        f"done in {result['seconds']:.0f} s, epsilon {price['epsilon']:.4g} at delta "
        f"{price['delta']:g} for one person, all years together\n"
        f"release:  {release}\n"
        f"report:   {release / 'report.html'}  (open it in a browser)\n"
        f"check it: fedloom release verify {release}\n"
        f"more rows, free of charge: fedloom sample {release} --rows 1000 --out more.csv"
    )


def _fresh(out: Path | None) -> Path:
    if out is not None:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"{out} is not empty; choose another --out")
        return out
    number, candidate = 1, Path(_DEFAULT_OUT)
    while candidate.exists():
        number += 1
        candidate = Path(f"{_DEFAULT_OUT}-{number}")
    return candidate
