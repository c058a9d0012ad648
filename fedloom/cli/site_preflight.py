"""`fedloom site preflight`: what would stop this site in a run, found before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option
from fedloom.client.device import torch_device
from fedloom.client.finding import Finding
from fedloom.common.errors import FedloomError, IncompleteError

if TYPE_CHECKING:
    from fedloom.client.home import Home
    from fedloom.client.membership import Offer
    from fedloom.client.site_config import SiteConfig
    from fedloom.privacy.plan import Plan

__all__ = ["findings", "preflight"]

_LEAST_FREE_BYTES = 1 << 30


@click.command()
@home_option
@click.option("--plan", type=click.Path(path_type=Path), help="The plan that is to be run.")
@json_option
def preflight(home: Path, plan: Path | None, as_json: bool) -> None:
    """Check this site before a run: passed, or the problem and how to fix it. Nothing is changed.

    Name, port, certificate, clock, the node's key, Flower's version, pinned peers, disk, device;
    with --plan also its digest, keys, version and approval, and the records against its schema.
    Exit code 5 if something is to be fixed.
    """
    found = list(findings(home, plan))
    failed = [finding for finding in found if not finding.passed]
    if as_json:
        checks = [{**asdict(finding), "passed": finding.passed} for finding in found]
        print_json({"passed": not failed, "checks": checks})
    else:
        for finding in found:
            click.echo(f"{'passed' if finding.passed else 'PROBLEM':8} {finding.check}: ", nl=False)
            click.echo(finding.detail)
            if finding.remedy:
                click.echo(f"{'':9}fix: {finding.remedy}")
            if finding.warning:
                click.echo(f"{'':9}soon: {finding.warning}")
    if failed and as_json:
        raise click.exceptions.Exit(IncompleteError.exit_code)
    if failed:
        raise IncompleteError(
            f"{len(failed)} of {len(found)} checks found a problem: "
            f"{', '.join(finding.check for finding in failed)}"
        )


def findings(home: Path, plan: Path | None) -> Iterator[Finding]:
    """Checks a site before a run, one check after the other; see `fedloom site preflight`."""
    from fedloom.client.door_check import check_door
    from fedloom.client.home import Home
    from fedloom.client.membership import check_kit, kit_of
    from fedloom.client.site_config import SiteConfig

    opened = Home.open(home)
    kit = kit_of(home)
    if kit is None:
        yield Finding(
            "federation", "none joined", f"run `fedloom site join KIT --home {home}` with its kit"
        )
    else:
        files = {"authority": opened.authority_path, "node_key": opened.node_key_path}
        yield from check_door(kit.address, **files)
        yield _tried("peers", lambda: _pinned(check_kit(opened, kit)), "join again")
    yield _tried("flower", _flower, "install the version that it names")
    free = shutil.disk_usage(opened.path).free
    room = f"{free / 2**30:.1f} GiB free"
    yield Finding("disk", room, "" if free > _LEAST_FREE_BYTES else "make room on the home's disk")
    config = SiteConfig.load(opened.config_path)
    yield _tried("device", lambda: _device(config.device), "set [site] device in site.toml")
    if plan is not None:
        yield from _of_plan(opened, config, plan)


def _of_plan(opened: Home, config: SiteConfig, path: Path) -> Iterator[Finding]:
    from fedloom.client import approval
    from fedloom.client.membership import check_coordinator
    from fedloom.client.peers import check_peers
    from fedloom.privacy.ledger import read_ledger
    from fedloom.privacy.plan import Plan

    plan = Plan.load(path)
    digest = plan.digest()

    def sound() -> str:
        approval.verify_plan(plan, site=config.name, home=opened)
        check_coordinator(opened, plan)
        check_peers(config.peers, plan, site=config.name)
        return f"{digest[:12]} names the keys of this home, its peers and its coordinator"

    yield _tried("plan", sound, "ask the coordinator for the right plan")
    if plan.kind.needed_at_sites is not None:
        yield _tried("packages", lambda: _parts(plan), "install what the plan names")
    yield _tried("version", lambda: _version(plan.fedloom), "do one of the two")
    grants = read_ledger(opened.path).grants(digest)
    approved = bool(grants) and not grants[-1].ended and not grants[-1].revoked
    yield Finding(
        "approval",
        "approved, a run can begin" if approved else "not approved, or used up",
        "" if approved else f"`fedloom site approve {path} --home {opened.path}`",
    )

    def records() -> str:
        schema, column = plan.schema, plan.privacy.id
        private_frame = schema.kind.load(config.source, schema, id_column=column)
        problems = schema.kind.report(private_frame, schema, id_column=column).problems
        if problems:
            raise FedloomError(problems[0])
        return "the records fit the plan's schema"

    yield _tried("data", records, f"see `fedloom schema check {path} --home {opened.path}`")


def _pinned(offer: Offer) -> str:
    missing = [card.name for card in (*offer.new, *offer.changed)]
    if missing:
        raise FedloomError(f"of the kit's sites {', '.join(missing)} are not pinned")
    return "every other site of the kit is pinned"


def _parts(plan: Plan) -> str:
    from fedloom.client.request_check import check_parts_are_here

    check_parts_are_here(plan)
    return "what the plan's model needs beside fedloom is here"


def _version(named: str) -> str:
    from fedloom.privacy.plan_version import check_version

    check_version(named)
    return f"the plan is of fedloom {named}, as this is"


def _flower() -> str:
    from fedloom.client.node import check_flower

    check_flower()
    return "a version that the node knows"


def _device(device: str) -> str:
    chosen = torch_device(device)
    if chosen == "cpu":
        return chosen
    import torch

    free, total = (size / 2**30 for size in torch.cuda.mem_get_info(torch.device(chosen)))
    return f"{chosen}, {free:.1f} of {total:.1f} GiB free"


def _tried(check: str, act: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(check, act())
    except (FedloomError, ImportError, OSError) as error:
        return Finding(check, str(error), remedy)
