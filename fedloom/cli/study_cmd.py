"""`fedloom study`: a study's plan and price before anything is spent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.common.encoding import Encoding
from fedloom.common.vocabulary import Unit

if TYPE_CHECKING:
    from fedloom.common.study import Study
    from fedloom.privacy.inference.expected import Precision
    from fedloom.privacy.plan import Plan

__all__ = ["study"]

# Records of the group by which the table of a study's summary says what noise will do.
_GROUP = 500


@click.group()
def study() -> None:
    """Check a study: digest, plan, noise, price."""


@study.command()
@click.argument("path", metavar="STUDY", type=click.Path(path_type=Path))
@click.option("--resolved", is_flag=True, help="Print the whole plan as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the plan to this file.")
@click.option(
    "--coordinator",
    type=click.Path(path_type=Path),
    help="A coordinator's home: its key and the cards of the sites it invited are filled in.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def check(
    path: Path, resolved: bool, out: Path | None, coordinator: Path | None, as_json: bool
) -> None:
    """Resolve STUDY and show digest, plan, noise, price and expected time."""
    import fedloom
    from fedloom.common.study import load_study
    from fedloom.privacy.resolve import resolve_plan

    agreed, schema = load_study(path)
    if coordinator is not None:
        agreed = _with_cards(agreed, coordinator)
    plan = resolve_plan(agreed, schema, version=fedloom.__version__, where=path)
    if out is not None:
        plan.save(out)
    if resolved:
        click.echo(json.dumps(plan.to_dict(), indent=2, sort_keys=True))
        return
    precision = _precision(plan)
    summary = _summary(plan, precision)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold", min_width=64)  # a digest, to be compared, stays on one line
    for name, value in _lines(plan, summary, precision):
        table.add_row(name, value)
    Console().print(table)
    missing = [] if plan.coordinator_key else ["the coordinator"]
    if missing := missing + summary["sites_without_key"]:
        click.echo(
            f"The plan digest is not final: {', '.join(missing)} gave no key yet "
            "(`fedloom coordinator keygen` and `fedloom site keygen` print it, --coordinator takes "
            "it from the cards of invited sites; `simulate` makes its own)."
        )
    for warning in summary["warnings"]:
        click.echo(f"Warning: {warning}")


@study.command()
@click.argument("path", metavar="STUDY", type=click.Path(path_type=Path))
@click.option(
    "--want",
    "wants",
    multiple=True,
    required=True,
    metavar="WANT",
    help="Such as 'readmitted by age within 2 points', or '... in groups of 500'; repeat for more.",
)
@click.option(
    "--records",
    type=click.IntRange(min=1),
    help="Records of all sites together; by default what the sites declare.",
)
@json_option
def solve(path: Path, wants: tuple[str, ...], records: int | None, as_json: bool) -> None:
    """Find the least epsilon at which STUDY's shares are as right as wanted.

    All noise is public before anything is asked, so this is arithmetic: no site is asked and
    nothing is spent. A want is kept 19 times in 20, as far as noise goes; what the sampling of so
    many records makes of a share comes on top and is shown beside it. Everything else of the study
    stays as it is.
    """
    import fedloom
    from fedloom.common.errors import StudyError
    from fedloom.common.study import load_study
    from fedloom.privacy.inference.wants import least_epsilon, parse_want

    agreed, schema = load_study(path)
    declared = [site.records for site in agreed.sites]
    if records is None:
        if None in declared:
            raise StudyError(
                f"{path}: not every site declares its number of records; say --records, a guess "
                "in public numbers"
            )
        records = sum(number for number in declared if number is not None)
    found = least_epsilon(
        agreed,
        schema,
        [parse_want(want, schema) for want in wants],
        float(records),
        version=fedloom.__version__,
    )
    least = max(answer.epsilon for answer in found)
    if as_json:
        print_json(
            {
                "study": agreed.name,
                "records": records,
                "epsilon": agreed.privacy.epsilon,
                "least_epsilon": least,
                "wants": [
                    {
                        "want": answer.want.text,
                        "group": answer.size,
                        "error": answer.error,
                        "sampling": answer.sampling,
                        "least_epsilon": answer.epsilon,
                    }
                    for answer in found
                ],
            }
        )
        return
    for answer in found:
        click.echo(
            f"{answer.want.text}: at epsilon {agreed.privacy.epsilon:g} a share in a group of "
            f"{answer.size:,.0f} records is off by {100 * answer.error:.2g} points, 19 times in 20 "
            f"(sampling adds up to {100 * answer.sampling:.2g}); least epsilon {answer.epsilon:g}"
        )
    click.echo(f"least epsilon for all: {least:g}")


def _precision(plan: Plan) -> list[Precision]:
    """Says how far off shares will be in a study of a table; nothing of other records."""
    from fedloom.privacy.inference.expected import PlannedNoise, precision_table

    if not isinstance(plan.coder, Encoding):
        return []
    return precision_table(PlannedNoise.of(plan))


def _with_cards(study: Study, coordinator: Path) -> Study:
    """Fills in the keys of a coordinator and of the study's sites that it invited."""
    from fedloom.privacy.keys import public_key_hex
    from fedloom.server.provision.coordinator_home import CoordinatorHome

    home = CoordinatorHome.open(coordinator)
    cards = {card.name: (card.key, card.exchange_key) for card in home.cards()}
    return study.with_coordinator(public_key_hex(home.key())).with_keys(cards)


def _summary(plan: Plan, precision: Sequence[Precision]) -> dict[str, Any]:
    """The plan and its price, as JSON-able values."""
    from fedloom.privacy.plan_size import expected_seconds, noise_warnings
    from fedloom.privacy.price_warnings import price_warnings

    masked = plan.colluding is not None
    return {
        "study": plan.name,
        "study_digest": plan.study_digest,
        "plan_digest": plan.digest(),
        "schema_digest": plan.schema_digest,
        "sites": [site.name for site in plan.sites],
        "sites_without_key": [
            site.name
            for site in plan.sites
            if site.key is None or (masked and site.exchange_key is None)
        ],
        "coordinator_key": plan.coordinator_key,
        "answers_per_site": len(plan.rounds),
        "model": plan.model.kind,
        "unit": plan.privacy.unit.value,
        "trust": plan.privacy.trust.value,
        "public_data": None if plan.public is None else plan.public.sha256,
        "noise_multipliers": {phase.name: phase.noise_multiplier for phase in plan.phases},
        "epsilon": plan.stated_price.epsilon,
        "epsilon_rdp": plan.stated_price.epsilon_rdp,
        "delta": plan.delta,
        "expected_seconds": expected_seconds(plan),
        "precision": [dataclasses.asdict(one) for one in precision],
        "warnings": [*price_warnings(plan), *noise_warnings(plan)],
    }


def _lines(
    plan: Plan, summary: Mapping[str, Any], precision: Sequence[Precision]
) -> list[tuple[str, str]]:
    """The summary for people: a name and what it is, line by line."""
    from fedloom.cli.learned_output import expected
    from fedloom.privacy.inference.expected import precision_in_words

    phases = ", ".join(phase.summary() for phase in plan.phases)
    lines = [
        (
            "study",
            f"{plan.name} ({plan.model.kind}), {len(plan.sites)} sites: "
            + ", ".join(summary["sites"]),
        ),
        ("study digest", plan.study_digest),
        ("plan digest", f"{plan.digest()}  (what stewards sign)"),
        ("unit", _unit(plan)),
        ("trust", _trust(plan)),
        ("answers", f"{len(plan.rounds)} from each site: {phases}"),
        ("noise multiplier", _noise(plan)),
        (
            "price",
            f"epsilon {summary['epsilon']:.4g} of {plan.privacy.epsilon:g} at delta {plan.delta:g} "
            f"by PLD ({summary['epsilon_rdp']:.4g} by RDP), for one {plan.privacy.unit}",
        ),
    ]
    if plan.public is not None:
        lines.append(("public data", f"{plan.public.table} ({plan.public.source})"))
    if plan.learns_schema:
        lines.append(("finds", expected(plan)))
    elif precision:
        row = next(one for one in precision if one.size == _GROUP)
        lines.append(("precision", precision_in_words(row, plan.target)))
    time = f"about {summary['expected_seconds']:.0f} s in one process on two cores"
    return [*lines, ("time", time)]


def _unit(plan: Plan) -> str:
    privacy = plan.privacy
    if privacy.unit is Unit.RECORD:
        text = "one record"
    else:
        text = (
            f"one person, all rows of one {privacy.id!r}; {privacy.rows_per_person} rows at "
            "most are used, noise on counts grows with that number"
        )
    if privacy.overlap > 1:
        text += f"; at {privacy.overlap} sites at most"
    return text


def _trust(plan: Plan) -> str:
    if plan.colluding is None:
        return "per-site: each site's answers alone are private, against the coordinator too"
    return (
        f"secure-sum: the coordinator sees sums over {plan.min_sites} sites or "
        f"more; {plan.colluding} of them may tell it all they know"
    )


def _noise(plan: Plan) -> str:
    return ", ".join(f"{phase.noise_multiplier:g} ({phase.name})" for phase in plan.phases)
