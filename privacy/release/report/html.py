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
from typing import Any

import pandas as pd
from markupsafe import Markup

from fedloom.common.parts import load_part
from fedloom.common.records import RecordKind, Statistics
from fedloom.common.vocabulary import Trust
from fedloom.privacy.drift.result import Drift
from fedloom.privacy.release.render import TEMPLATES, render
from fedloom.privacy.release.report.curves import curves_of
from fedloom.privacy.release.report.drift_view import drift_view
from fedloom.privacy.release.report.held_back import held_back_view
from fedloom.privacy.release.report.svg import budget_bars, curve_chart

__all__ = ["render_report"]


def render_report(
    *,
    title: str,
    created: str,
    model: str,
    statement: Mapping[str, Any],
    frame: pd.DataFrame,
    kind: RecordKind,
    statistics: Statistics,
    metrics: Sequence[Mapping[str, Any]],
    evaluation: Mapping[str, Any] | None = None,
    limits: Sequence[str] = (),
    drift: Drift | None = None,
) -> str:
    """Returns the report as HTML.

    Args:
      title: of the release.
      created: when it was built, for people.
      model: kind of the generator.
      statement: what `make_statement` wrote.
      frame: the synthetic rows.
      kind: of the records.
      statistics: what the noisy sums over sites say.
      metrics: the run's post-processing, one mapping a round.
      evaluation: figures on held-back units; None if no unit was held back.
      limits: what these data cannot tell, one sentence each.
      drift: how far the records are from those of the earlier release that the plan names, if any.
    """
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    secure = statement["trust_model"]["mode"] == Trust.SECURE_SUM
    figures: Markup = load_part(kind.figures)(frame, statistics, secure=secure)
    return render(
        "report.html",
        policy=_policy(css, pictures="<img " in figures),
        css=Markup(css),
        title=title,
        created=created.replace("T", ", ").replace("Z", " UTC"),
        model=model,
        rows=f"{len(frame):,}",
        columns=len(frame.columns),
        limits=limits,
        secure=secure,
        **_price_view(statement),
        **_method_view(statement),
        held_back=None if evaluation is None else held_back_view(evaluation),
        drift=None if drift is None else drift_view(drift),
        figures=figures,
        curves=[
            {
                "title": curve.title,
                "svg": Markup(curve_chart(title=curve.title, x_label="round", series=curve.series)),
            }
            for curve in curves_of(metrics)
        ],
    )


def _price_view(statement: Mapping[str, Any]) -> dict[str, Any]:
    """What the release cost, for which unit, and towards whom."""
    whole = statement["with_the_schema"]
    return {
        "warnings": _warnings(statement),
        "epsilon": statement["epsilon"],
        "delta": statement["delta"],
        "epsilon_rdp": statement["accountant"]["cross_check"]["epsilon"],
        "together": statement.get("public_data", {}).get("together"),
        "learned": bool(statement["preprocessing"]["learned"]),
        "whole": whole,
        "belief": 100.0 / (1.0 + math.exp(-whole["epsilon"])),
        "unit": statement["unit_of_privacy"]["unit"],
        "unit_meaning": statement["unit_of_privacy"]["text"],
        "colluding": statement["trust_model"].get("colluding", 0),
        "public_epsilon": statement["towards"]["public"]["epsilon"],
        "parties": _parties(statement),
        "overlap": statement["overlap"],
        "hold_back": statement["held_back"]["chance"],
        "budget": Markup(budget_bars(_budget_rows(statement["sites"]))),
    }


def _method_view(statement: Mapping[str, Any]) -> dict[str, Any]:
    """What was done, at which sites, and what it rests on."""
    sites = statement["sites"]
    return {
        "site_names": list(sites),
        "void_attempts": _void_attempts(statement),
        "mechanisms": statement["mechanisms"],
        "assumptions": statement["assumptions"],
        "not_covered": statement["not_covered"],
        "plan": statement["plan"],
        "schema": statement["preprocessing"]["schema_digest"],
        "heads": [(name, site["ledger_head"]) for name, site in sites.items()],
    }


def _policy(css: str, *, pictures: bool) -> str:
    images = "data:" if pictures else "'none'"
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src {images}; script-src 'none'; "
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
