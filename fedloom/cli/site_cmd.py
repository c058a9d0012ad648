"""`fedloom site`: a steward's commands in a site's home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedloom.cli.audit_cmd import audit_log
from fedloom.cli.options import clamp_options, json_option
from fedloom.cli.output import print_counts, print_json
from fedloom.cli.site_join import card, join
from fedloom.cli.site_metrics import health, metrics
from fedloom.cli.site_nearest import nearest
from fedloom.cli.site_plan import home_option, plan, runs_option, told
from fedloom.cli.site_preflight import preflight
from fedloom.cli.site_restore import backup, heads, restore
from fedloom.cli.site_rotate import rotate
from fedloom.cli.site_serve import node, serve
from fedloom.cli.site_tidy import tidy
from fedloom.cli.site_up import down, service, status, up
from fedloom.cli.source_options import source_options
from fedloom.cli.web_cmd import site_web
from fedloom.common.errors import ConfigError, NotApprovedError

if TYPE_CHECKING:
    from fedloom.client.home import Home

__all__ = ["site"]


@click.group()
def site() -> None:
    """Run an institution's site: key, policy, approvals, vault."""


site.add_command(audit_log)
site.add_command(serve)
site.add_command(node)
site.add_command(tidy)
site.add_command(plan)
site.add_command(card)
site.add_command(join)
for _command in (health, metrics):
    site.add_command(_command)
for _command in (
    *(up, down, status, service, preflight, nearest, backup, heads, restore, rotate),
    site_web,
):
    site.add_command(_command)


@site.command()
@home_option
@click.option("--name", required=True, help="The site's name in studies.")
@click.option("--epsilon", type=float, required=True, help="Limit for the records' lifetime.")
@click.option(
    "--delta", type=float, default=1e-5, show_default=True, help="Delta of that limit, for life."
)
@click.option("--data", type=click.Path(path_type=Path), help="A CSV, Excel or Parquet file.")
@click.option("--url", help="A database, as SQLAlchemy writes it.")
@click.option("--query", help="The SELECT that gives the records.")
@click.option(
    "--source",
    "described",
    type=click.Path(path_type=Path),
    help="A TOML file whose [source] says where the records are and how written.",
)
@click.option("--rehearsal", is_flag=True, help="For rehearsals; the ledger says so for ever.")
@source_options
def init(
    home: Path,
    name: str,
    epsilon: float,
    delta: float,
    data: Path | None,
    url: str | None,
    query: str | None,
    described: Path | None,
    rehearsal: bool,
    dialect: dict[str, Any],
) -> None:
    """Make a home: keys, ledger and a first site.toml."""
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig, template
    from fedloom.client.sources import Source
    from fedloom.common.study import check_site_name
    from fedloom.privacy.ledger import Ledger
    from fedloom.privacy.policy import Policy

    made = Home(home)
    if made.ledger_path.exists():
        raise ConfigError(f"{home} has a ledger already; a home is made once")
    # What can never be used is said before a file is written.
    Policy.from_dict({"epsilon": epsilon, "delta": delta}, where="the limits")
    check_site_name(name, "--name")
    given = [data is not None, url is not None, described is not None]
    if given.count(True) != 1 or (url is None) != (query is None):
        raise ConfigError(
            "say where the records are, once: --data FILE or --url URL --query SQL or --source FILE"
        )
    if data is not None and not data.is_file():
        raise ConfigError(f"--data {data}: no such file; give the path of the records")
    if described is None:
        source = Source(path=data, url=url, query=query, **dialect).to_toml()
    else:
        source = Source.load(described).to_toml()
    if not made.exists():
        made = Home.create(home)
    if not made.config_path.exists():
        text = template(name=name, source=source, epsilon=epsilon, delta=delta)
        made.config_path.write_text(text, encoding="utf-8")
    SiteConfig.load(made.config_path)
    Ledger.create(
        made.path,
        private_key=made.private_key(),
        site=name,
        epsilon_limit=epsilon,
        delta_limit=delta,
        rehearsal=rehearsal,
    ).close()
    click.echo(f"made {home}: site {name!r}, lifetime limit epsilon {epsilon:g} at delta {delta:g}")
    click.echo(f"keys for the study:\n{_public_keys(made)}")
    click.echo(
        f"next: read and complete {made.config_path}, then send the coordinator what `fedloom site "
        f"card --home {home} --out {name}.card.json` writes"
    )


@site.command()
@home_option
def keygen(home: Path) -> None:
    """Print the site's public keys for the study; make those that are missing."""
    from fedloom.client.home import Home

    made = Home(home)
    if made.exists():
        made.make_keys()
    else:
        made = Home.create(home)
    click.echo(_public_keys(made))


@site.command()
@click.argument("study", type=click.Path(path_type=Path))
@home_option
@runs_option
@click.option("--yes", is_flag=True, help="Sign without asking.")
@clamp_options
@click.option(
    "--ids-as-written",
    is_flag=True,
    help='Treat ids that differ only in writing ("7", "07") as different people. Not implied by '
    "--clamp.",
)
@click.option(
    "--receipt",
    type=click.Path(path_type=Path),
    help="Write a signed receipt here, for the coordinator.",
)
@source_options
@json_option
def approve(
    study: Path,
    home: Path,
    runs: int,
    yes: bool,
    clamp: bool,
    clamp_columns: tuple[str, ...],
    ids_as_written: bool,
    receipt: Path | None,
    dialect: dict[str, Any],
    as_json: bool,
) -> None:
    """Explain STUDY (a study.toml or a plan.json), then sign its digest into the ledger.

    An approval is for one run, or for as many as --runs says. When they are used, a further run is
    refused until you approve again. Options that say how the records are written stand in place of
    those in site.toml. With --json nothing is asked, so it needs --yes.
    """
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig
    from fedloom.client.stewardship import private_records, sign_approval

    if as_json and not yes:
        raise ConfigError(
            "--json asks nothing; read `fedloom site plan` first, then approve with --json --yes"
        )
    opened = Home.open(home)
    config = SiteConfig.load(opened.config_path)
    explanation = told(study, home, runs, as_json=as_json)
    agreed = explanation.plan
    config = replace(config, source=replace(config.source, **dialect))
    private_frame = private_records(config, agreed)
    report = agreed.schema.kind.report(private_frame, agreed.schema, id_column=agreed.privacy.id)
    if not as_json:
        print_counts(report)
    if not yes and not _confirmed():
        raise NotApprovedError("not approved; nothing was signed (--yes approves without asking)")
    signed = sign_approval(
        opened,
        config,
        agreed,
        private_frame,
        runs=runs,
        clamp=clamp,
        clamp_columns=clamp_columns,
        ids_as_written=ids_as_written,
    )
    if receipt is not None:
        signed.save(receipt)
    if as_json:
        print_json(explanation.to_dict() | {"table": report.to_dict(), "approved": True})
        return
    click.echo(f"approved {agreed.digest()} for {runs} run{'' if runs == 1 else 's'}")
    if receipt is not None:
        click.echo(f"wrote {receipt}; send it to the coordinator")


@site.command()
@click.argument("study", type=click.Path(path_type=Path))
@home_option
def revoke(study: Path, home: Path) -> None:
    """Withdraw the approval of STUDY; what was answered stays charged."""
    from fedloom.client.approval import load_plan_or_study
    from fedloom.client.home import Home
    from fedloom.client.stewardship import revoke as withdraw

    opened = Home.open(home)
    digest = load_plan_or_study(study).digest()
    _say_who_records(withdraw(opened, digest))
    click.echo(f"revoked {digest}; its frozen records are deleted")


@site.command()
@home_option
@click.option("--off", is_flag=True, help="Answer again.")
def pause(home: Path, off: bool) -> None:
    """Have the vault refuse every query until `pause --off`."""
    from fedloom.client.home import Home
    from fedloom.client.stewardship import set_paused

    _say_who_records(set_paused(Home.open(home), not off))
    click.echo("the site answers" if off else "the site is paused")


def _public_keys(home: Home) -> str:
    """Returns the lines that the study's `[[site]]` and others' `[peers.NAME]` take."""
    from fedloom.privacy.keys import fingerprint

    keys = {"key": home.public_key(), "exchange-key": home.exchange_public_key()}
    return "\n".join(f'{name} = "{key}"  # {fingerprint(key)}' for name, key in keys.items())


def _say_who_records(recorded: bool) -> None:
    """Says so where a decision is not in the ledger yet."""
    if not recorded:
        click.echo("the running vault obeys at once and records it, at the latest when it ends")


def _confirmed() -> bool:
    """Asks the steward; an input that has ended says no."""
    try:
        return click.confirm("Approve this plan?")
    except click.Abort:
        return False
