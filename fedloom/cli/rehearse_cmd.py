"""`fedloom rehearse`: one's own study in the topology of a federation, on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.source_options import site_source_options, site_sources
from fedloom.common.errors import ConfigError

__all__ = ["loopback_option", "rehearse", "rehearse_in"]

loopback_option = click.option(
    "--loopback", is_flag=True, help="All parties on the loopback, also where root could do more."
)


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@site_source_options
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A folder for it all.")
@click.option("--resume", is_flag=True, help="Go on with a rehearsal that was interrupted.")
@loopback_option
@json_option
def rehearse(
    study: Path,
    sites: tuple[str, ...],
    sources: tuple[str, ...],
    dialect: dict[str, Any],
    out: Path,
    resume: bool,
    loopback: bool,
    as_json: bool,
) -> None:
    """Rehearse STUDY with a coordinator, its institutions and real servers, to a release.

    Everything is done by the commands of a real federation, with TLS and keys of its own; on Linux
    root gives each party a network of its own, others get the loopback. `fedloom simulate` is
    quicker and has no servers. Homes are rehearsals, approved without asking; what a rehearsal
    makes of real records is for this machine.
    """
    given = site_sources(sites, sources, dialect)
    if out.exists() and any(out.iterdir()) and not resume:
        raise ConfigError(f"{out} is not empty; go on in it by --resume, or choose another --out")
    result = rehearse_in(out, study, given, loopback=loopback, quiet=as_json)
    if as_json:
        print_json(result)
        return
    click.echo(
        f"done in {result['seconds']:.0f} s, epsilon {result['epsilon']:.4g} at delta "
        f"{result['delta']:g}\nrelease:  {result['release']}"
    )


def rehearse_in(
    folder: Path, study: Path, sources: dict[str, Any], *, loopback: bool, quiet: bool
) -> dict[str, Any]:
    """Carries a federation in a folder from nothing, or from where it stopped, to a release.

    Args:
      folder: for everything.
      study: a study.toml that names no keys.
      sources: of each site's records, files.
      loopback: no networks of their own.
      quiet: say nothing.

    Returns:
      Where run and release lie, price and seconds; JSON-able.

    Raises:
      FedloomError: what the command that failed says.
    """
    from fedloom.cli.local_federation import LocalFederation, Records
    from fedloom.common.study import load_study
    from fedloom.deployment.namespaces import Namespaces

    started = time.monotonic()
    agreed, _ = load_study(study)
    names = [site.name for site in agreed.sites]
    if set(names) != set(sources):
        missing = sorted(set(names) ^ set(sources))
        raise ConfigError(
            f"give the records of every site of the study and no other by --site NAME=FILE; "
            f"{missing[0]!r} does not fit"
        )
    if agreed.coordinator.key is not None or any(site.key for site in agreed.sites):
        raise ConfigError(
            f"{study} names keys; a rehearsal has keys of its own, so give it the study without "
            "them"
        )
    privacy = agreed.privacy
    records = {
        name: Records(source=source, epsilon=privacy.epsilon, delta=privacy.delta)
        for name, source in sources.items()
    }
    federation = LocalFederation(
        folder,
        names,
        namespaces=not loopback and Namespaces.available(),
        say=(lambda text: None) if quiet else (lambda text: click.echo(text, err=True)),
    )
    federation.provision(study, records)
    with federation.up():
        federation.coordinate()
    release = folder / "release"
    federation.release(release)
    from fedloom.privacy.plan import Plan

    plan = Plan.load(federation.plan)
    return {
        "run": str(federation.run),
        "release": str(release),
        "report": str(release / "report.html"),
        "sites": names,
        "epsilon": plan.stated_price.epsilon,
        "delta": plan.delta,
        "networks": not loopback and Namespaces.available(),
        "seconds": round(time.monotonic() - started, 1),
    }
