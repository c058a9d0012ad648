"""`fedloom demo`: the main job on real data, from six tables to a signed release."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import click

from fedloom.cli.progress import RunProgress
from fedloom.cli.rehearse_cmd import loopback_option, rehearse_in
from fedloom.common.errors import ConfigError
from fedloom.common.study import load_study

__all__ = ["demo"]

_EXAMPLE = "examples/rand"
_DEFAULT_OUT = "fedloom-demo"


@click.command()
@click.option(
    "--deploy", is_flag=True, help="Three of the sites as a federation of real servers, with TLS."
)
@click.option("--out", type=click.Path(path_type=Path), help="A new folder for run and release.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted demo in --out.")
@loopback_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def demo(deploy: bool, out: Path | None, resume: bool, loopback: bool, as_json: bool) -> None:
    """Six real sites publish one synthetic table together.

    The RAND Health Insurance Experiment: 5,912 people with a row for each of up to five years, at
    six sites, in the public domain. The sites train one generator, which protects each person with
    all rows, by sums that only open together; the result is a signed release.

    With --deploy three of them are a federation from nothing: a coordinator and three institutions
    with servers, certificates and keys of their own, made by the commands that a real federation
    types, one study of statistics, and everything taken down at the end.

    Without --out the folder is fedloom-demo, or the next free name after it; --resume takes the
    last of them.
    """
    from fedloom.common.resources import resource_path
    from fedloom.privacy.release import build_release
    from fedloom.simulation import prepare, run_prepared

    started = time.monotonic()
    example = resource_path(_EXAMPLE)
    target = _begun(out) if resume else _fresh(out)
    if deploy:
        _deploy(example, target, loopback=loopback, as_json=as_json)
        return
    study, schema = load_study(example / "study.toml")
    tables = {entry.name: example / f"{entry.name}.csv.gz" for entry in study.sites}
    if not as_json:
        click.echo(f"study {study.name!r}: {len(tables)} sites, model {study.model.kind}")
    with RunProgress(quiet=as_json) as progress:
        folder = prepare(study, schema, tables, out=target / "run", homes={}, resume=resume)
        progress.plan(folder.plan())
        run_prepared(folder, on_event=progress)
    release = target / "release"
    if not release.exists():
        build_release(folder.path, release)
    price = folder.plan().stated_price
    result = {
        "run": str(folder.path),
        "release": str(release),
        "report": str(release / "report.html"),
        "epsilon": price.epsilon,
        "delta": price.delta,
        "seconds": round(time.monotonic() - started, 1),
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(
        f"done in {result['seconds']:.0f} s, epsilon {price.epsilon:.4g} at delta "
        f"{price.delta:g} for one person, all years together\n"
        f"release:  {release}\n"
        f"report:   {release / 'report.html'}  (open it in a browser)\n"
        f"check it: fedloom release verify {release}\n"
        f"more rows, free of charge: fedloom sample {release} --rows 1000 --out more.csv"
    )


def _deploy(example: Path, target: Path, *, loopback: bool, as_json: bool) -> None:
    from fedloom.client.sources import Source

    study = example / "study-federation.toml"
    sites = [site.name for site in load_study(study)[0].sites]
    sources = {name: Source(path=example / f"{name}.csv.gz") for name in sites}
    result = rehearse_in(target, study, sources, loopback=loopback, quiet=as_json)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    click.echo(
        f"done in {result['seconds']:.0f} s, epsilon {result['epsilon']:.4g} at delta "
        f"{result['delta']:g} for one person, all years together\n"
        f"release:  {result['release']}\n"
        f"report:   {result['report']}  (open it in a browser)\n"
        f"homes of coordinator and sites, their ledgers and logs: {target}"
    )


def _fresh(out: Path | None) -> Path:
    if out is not None:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(
                f"{out} is not empty; go on with the demo in it by --resume, or choose another "
                "--out"
            )
        return out
    return next(path for path in _names() if not path.exists())


def _begun(out: Path | None) -> Path:
    begun = list(itertools.takewhile(Path.exists, _names())) if out is None else [out]
    begun_here = begun and any((begun[-1] / name).is_dir() for name in ("run", "coordinator"))
    if not begun_here:
        raise ConfigError(
            f"{begun[-1] if begun else _DEFAULT_OUT} holds no demo to go on with; begin one "
            "without --resume"
        )
    return begun[-1]


def _names() -> Iterator[Path]:
    yield Path(_DEFAULT_OUT)
    for number in itertools.count(2):
        yield Path(f"{_DEFAULT_OUT}-{number}")
