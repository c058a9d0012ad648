"""Renders the report: one HTML file, with everything inline and no request to anywhere.

The page's content security policy forbids every fetch, script and frame, and allows one style
sheet by its hash. The report compares synthetic rows with noisy statistics only, so it is
post-processing like the rest of the release.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from fedloom.common.marginals import NoisyMarginals
from fedloom.privacy.release.report.compare import (
    Dependence,
    Marginal,
    compare_dependence,
    compare_marginals,
)
from fedloom.privacy.release.report.curves import curves_of
from fedloom.privacy.release.report.held_back import held_back_view
from fedloom.privacy.release.report.svg import budget_bars, curve_chart, heat_map, marginal_chart

__all__ = ["SHOWN_MARGINALS", "render_report"]

SHOWN_MARGINALS = 20
_FOLDER = Path(__file__).parent
_LARGE_MAP = 24


def render_report(
    *,
    title: str,
    created: str,
    model: str,
    statement: Mapping[str, Any],
    frame: pd.DataFrame,
    statistics: NoisyMarginals,
    metrics: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any] | None = None,
    limits: Sequence[str] = (),
) -> str:
    """Returns the report as HTML.

    Args:
      title: of the release.
      created: when it was built, for people.
      model: kind of the generator.
      statement: what `make_statement` wrote.
      frame: the synthetic rows.
      statistics: the noisy sums over sites.
      metrics: the run's post-processing, one mapping a round.
      evaluation: figures on held-back units; None if no unit was held back.
      limits: what these data cannot tell, one sentence each.
    """
    css = (_FOLDER / "report.css").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    marginals = compare_marginals(frame, statistics)
    dependence = compare_dependence(frame, statistics)
    charts = [_chart(marginal) for marginal in marginals]
    size = 420.0 if len(dependence.names) <= _LARGE_MAP else 540.0
    sites = statement["sites"]
    return environment.get_template("report.html.j2").render(
        policy=_policy(css),
        css=Markup(css),
        title=title,
        created=created.replace("T", ", ").replace("Z", " UTC"),
        model=model,
        rows=f"{len(frame):,}",
        columns=len(frame.columns),
        site_names=list(sites),
        warnings=_warnings(statement),
        limits=limits,
        epsilon=statement["epsilon"],
        delta=statement["delta"],
        epsilon_rdp=statement["accountant"]["cross_check"]["epsilon"],
        learned=bool(statement["preprocessing"]["learned"]),
        whole=statement["with_the_schema"],
        belief=100.0 / (1.0 + math.exp(-statement["with_the_schema"]["epsilon"])),
        unit=statement["unit_of_privacy"]["unit"],
        unit_meaning=statement["unit_of_privacy"]["text"],
        secure=statement["trust_model"]["mode"] == "secure-sum",
        colluding=statement["trust_model"].get("colluding", 0),
        public_epsilon=statement["towards"]["public"]["epsilon"],
        parties=_parties(statement),
        overlap=statement["overlap"],
        held_back=None if evaluation is None else held_back_view(evaluation),
        hold_back=statement["held_back"]["chance"],
        void_attempts=_void_attempts(statement),
        budget=Markup(budget_bars(_budget_rows(sites))),
        total=f"{statistics.total():,.0f}",
        total_std=f"{statistics.count_std() * math.sqrt(statistics.encoding.num_classes):,.1f}",
        shown=charts[:SHOWN_MARGINALS],
        folded=charts[SHOWN_MARGINALS:],
        table=[_row(marginal) for marginal in marginals],
        dependence_words=_dependence_words(dependence, statistics.encoding.target),
        heat_synthetic=Markup(_map("synthetic rows", dependence, dependence.synthetic, size)),
        heat_noisy=Markup(_map("noisy statistics", dependence, dependence.noisy, size))
        if dependence.measured != "none"
        else None,
        curves=[
            {
                "title": curve.title,
                "svg": Markup(curve_chart(title=curve.title, x_label="round", series=curve.series)),
            }
            for curve in curves_of(metrics)
        ],
        mechanisms=statement["mechanisms"],
        assumptions=statement["assumptions"],
        not_covered=statement["not_covered"],
        plan=statement["plan"],
        schema=statement["preprocessing"]["schema_digest"],
        heads=[(name, site["ledger_head"]) for name, site in sites.items()],
    )


def _policy(css: str) -> str:
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'none'; script-src 'none'; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _warnings(statement: Mapping[str, Any]) -> list[str]:
    warnings = []
    if statement["randomness"]["insecure_sites"]:
        warnings.append(
            "Noise came from a known seed at "
            + ", ".join(statement["randomness"]["insecure_sites"])
            + ": this release protects nobody and serves for tests alone."
        )
    if statement["rehearsal"]["sites"]:
        warnings.append(
            "Rehearsal: the budget covers this run alone. The ledgers were made for this run by "
            "whoever started it, and know nothing of other runs on the same records."
        )
    return warnings


_PARTIES = {
    "coordinator": "The coordinator",
    "fellow_site": "A fellow site",
    "public": "The public",
}


def _parties(statement: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whom epsilon is towards, with what each of them is."""
    return [
        {"name": name, "meaning": entry["text"], "epsilon": entry["epsilon"]}
        for party, name in _PARTIES.items()
        for entry in [statement["towards"][party]]
    ]


def _void_attempts(statement: Mapping[str, Any]) -> list[str]:
    return [
        f"round {one['round']}, attempt {one['attempt']}: charged at {', '.join(one['charged_at'])}"
        for one in statement["failure_and_retry"]["void_attempts"]
    ]


def _budget_rows(
    sites: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, float, float]]:
    return [
        (name, site["epsilon"], site["lifetime"]["epsilon_limit"]) for name, site in sites.items()
    ]


def _chart(marginal: Marginal) -> dict[str, Any]:
    return {
        **_row(marginal),
        "svg": Markup(
            marginal_chart(
                title=f"shares of {marginal.name}: synthetic rows and noisy marginal",
                labels=marginal.labels,
                synthetic=marginal.synthetic,
                noisy=marginal.noisy,
                errors=marginal.errors,
                ordered=marginal.ordered,
            )
        ),
    }


def _row(marginal: Marginal) -> dict[str, str]:
    ratio = marginal.distance / max(marginal.expected, 1e-12)
    reading = (
        "as noise alone would make it"
        if ratio < 1.3
        else "somewhat more than noise"
        if ratio < 2.5
        else "the generator differs"
    )
    return {
        "name": marginal.name,
        "distance": f"{marginal.distance:.3f}",
        "expected": f"{marginal.expected:.3f}",
        "error": f"{100 * sum(marginal.errors) / len(marginal.errors):.2g}%",
        "reading": reading,
    }


def _map(
    title: str,
    dependence: Dependence,
    values: Sequence[Sequence[float | None]],
    size: float,
) -> str:
    return heat_map(
        title=f"Cramér's V of each pair of columns in the {title}",
        names=dependence.names,
        values=values,
        size=size,
    )


def _dependence_words(dependence: Dependence, target: str | None) -> str:
    if dependence.measured == "pairs":
        return (
            "On the right, the same from the noisy pair counts: a pale square there says that the "
            "noise would hide a dependence, not that there is none."
        )
    if dependence.measured == "label":
        return (
            f"On the right, the same from the noisy statistics, which hold pairs with the label "
            f"{target} alone; for the other pairs there is nothing to compare with, and their "
            "squares stay empty."
        )
    return (
        "The noisy statistics of this study hold no pairs, so there is nothing to compare with: "
        "the map shows the synthetic rows alone."
    )
