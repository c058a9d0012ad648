"""Audits of every query at a noise that gives them power; tests choose unit, trust and roster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedloom.client.home import Home
from fedloom.common.marginals import groups_of_one
from fedloom.common.messages import Request
from fedloom.common.scores import BINS
from fedloom.common.set_marginals import MOST_FREQUENT
from fedloom.privacy.plan import Plan
from tests.audited import FOUR_COLUMNS, allowed, audited_plan, neighbours
from tests.crafted_weights import crafted_weights
from tests.mu_audit import Audit, Vector, claimed_mu

__all__ = [
    "COUNTS",
    "COUNTS_OF_SETS",
    "COUNTS_OF_TREE",
    "NOISE",
    "by_the_plans_sites",
    "counting_audit",
    "counting_plan",
    "gradient_audit",
    "guess_of_two_adam_steps",
    "training_audit",
    "training_plan",
    "tree_plan",
]

NOISE = {
    "one-way": 1 / 3,
    "columns": 1 / 3,
    "items": 1 / 3,
    "item-pairs": 1 / 3,
    "pairwise": 1 / 3,
    "class-columns": 1 / 3,
    "three-way": 1 / 3,
    "parities": 1 / 3,
    "discovery": 1 / 3,
    "evaluation": 0.5,
    "training": 0.3,
}
COUNTS = {"one-way": (1,), "pairwise": (2,), "evaluate": (3,), "both looks": (1, 2)}
"""What is asked of a plan of `counting_plan`, by the rounds' numbers."""
COUNTS_OF_TREE = {
    "columns": (1,),
    "class-columns": (3,),
    "three-way": (4,),
    "parities": (5,),
    "all sums of a tree": (1, 2, 3, 4, 5),
}
"""The same of a plan of `tree_plan`."""

COUNTS_OF_SETS = {"items": (2,), "item-pairs": (4,), "both sums of sets": (2, 4)}
"""The same of a plan of `tree_plan` with the schema `WITH_SETS`."""

_EVALUATED = "\n[evaluation]\nshare = 0.2\nhold_back = 0.5\n"
_MODELS = {
    "vae": '[model]\nkind = "vae"\nhidden = 8\nlatent = 2\n',
    "gan": '[model]\nkind = "gan"\nhidden = 8\nlatent = 2\ncritic_hidden = 8\n',
}
_SETTINGS = "max_grad_norm = 0.5\nmax_physical_batch = 64\n"
_OTHERS = 4


def counting_plan(folder: Path, *, louder: float = 1.0, **options: Any) -> Plan:
    """Returns a plan of a mixture: a look, pairs, an evaluation; at `louder` times the noise."""
    noise = {phase: louder * multiplier for phase, multiplier in NOISE.items()}
    return audited_plan(folder, "mixture", noise=noise, more=_EVALUATED, **options)


def tree_plan(folder: Path, *, schema: str = FOUR_COLUMNS, **options: Any) -> Plan:
    """Returns a plan of a tree: columns, pairs, both by class, triples, parities, an evaluation.

    Its noise is 1.35 times the usual: an audit of 4,000 trials cannot tell what five sums of the
    usual noise give away together.
    """
    noise = {phase: 1.35 * multiplier for phase, multiplier in NOISE.items()}
    return audited_plan(folder, "tree", noise=noise, more=_EVALUATED, schema=schema, **options)


def counting_audit(
    home: Home,
    plan: Plan,
    name: str,
    *,
    rows: int = 1,
    roster: Sequence[str] | None = None,
    at: Sequence[str] = ("north",),
    **options: Any,
) -> Audit:
    """Audits some rounds of counts.

    Args:
      home: Where records are frozen.
      plan: The plan.
      name: A key of `COUNTS`; any other is the first round.
      rows: Rows of the canary.
      roster: Who is asked; every site if None.
      at: Sites where the canary is.
      **options: Of `Audit`.
    """
    numbers = {**COUNTS, **COUNTS_OF_TREE, **COUNTS_OF_SETS}.get(name, (1,))
    asked = tuple(_counting_request(plan, number, roster) for number in numbers)
    claim = claimed_mu(*(plan.rounds[number - 1].event for number in numbers))
    held_back = name == "evaluate"
    return _audit(home, plan, asked, claim, rows=rows, at=at, held_back=held_back, **options)


def training_plan(
    folder: Path,
    model: str,
    *,
    exchange: str,
    training: str = "",
    sample_rate: float = 1.0,
    noise: float = NOISE["training"],
    **options: Any,
) -> Plan:
    """Returns a plan with training rounds.

    Args:
      folder: For the study's files.
      model: "vae" or "gan".
      exchange: "gradients" or "weights".
      training: Further text of `[training]`.
      sample_rate: Of units.
      noise: Noise multiplier of a step.
      **options: Of `audited_plan`.
    """
    settings = f'exchange = "{exchange}"\nsample_rate = {sample_rate}\n{_SETTINGS}'
    text = f"{_MODELS[model]}[training]\n{settings}{training}"
    return audited_plan(
        folder, text, noise={"one-way": 3.0, "training": noise, "evaluation": 3.0}, **options
    )


def gradient_audit(
    home: Home,
    plan: Plan,
    *,
    rows: int = 1,
    others: int = _OTHERS,
    roster: Sequence[str] | None = None,
    there_and_back: bool = False,
) -> Audit:
    """Audits one round of `gradient`; or two, in the second of which the canary moves back.

    Args:
      home: Where records are frozen.
      plan: The plan.
      rows: Rows of the canary.
      others: Units beside it at each site; none where an attacker would not know who is sampled.
      roster: Who is asked; every site if None.
      there_and_back: Whether two rounds are asked.
    """
    first = plan.statistics
    numbers = [len(first) + 1 + step for step in range(1 + there_and_back)]
    asked = []
    for number in numbers:
        sites = roster or [site.name for site in plan.sites]
        units = others * (len(sites) - (plan.colluding or 0))
        crafted = crafted_weights(plan, others=max(units, 1), away=number != numbers[0])
        asked.append(_request(plan, number, roster, crafted.arrays))
    claim = claimed_mu(*(plan.rounds[number - 1].event for number in numbers))
    return _audit(home, plan, tuple(asked), claim, rows=rows, others=others)


def training_audit(home: Home, plan: Plan, *, rows: int = 1) -> Audit:
    """Audits one round of `train`; of Adam's steps there may be two."""
    number = len(plan.statistics) + 1
    crafted = crafted_weights(plan, others=_OTHERS)
    asked = _request(plan, number, None, crafted.arrays)
    options: dict[str, Any] = {}
    if asked.params["optimizer"] == "adam":
        assert asked.params["local_steps"] == 2
        options = {"coordinate": crafted.coordinate, "guess": guess_of_two_adam_steps}
    claim = claimed_mu(plan.rounds[number - 1].event)
    return _audit(home, plan, (asked,), claim, rows=rows, **options)


def guess_of_two_adam_steps(scores: Vector) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tells from a weight after two steps of Adam whether the two gradients pushed it up in sum.

    That is the likelihood ratio of two pushes that are as far above zero with the canary as below
    zero without. Of pushes g and h the weight is sign(g) + (0.09 g + 0.1 h) / 0.19 / sqrt(v) in
    units of the learning rate; where g + h = 0 that is 0.18 / 0.19 with the sign of g. With g > 0
    the weight is above that number exactly if the sum is positive, and otherwise still above 0;
    with g < 0 all is the other way round.
    """
    weight = 4.0 * scores - 2.0
    border = 0.18 / 0.19
    return (weight > border) | ((-border < weight) & (weight < 0.0))


def _audit(
    home: Home,
    plan: Plan,
    asked: tuple[Request, ...],
    claim: float,
    *,
    rows: int,
    others: int = _OTHERS,
    at: Sequence[str] = ("north",),
    held_back: bool = False,
    **options: Any,
) -> Audit:
    roster = asked[0].roster
    tables = {}
    for site in roster[: len(roster) - (plan.colluding or 0)]:
        pair = neighbours(home, plan, rows=rows, others=others, held_back=held_back)
        absent = dataclasses.replace(pair, with_it=pair.without)
        tables[site] = pair if site in at else absent
    return Audit(plan=plan, requests=asked, tables=tables, claim=claim, **options)


def _counting_request(plan: Plan, number: int, roster: Sequence[str] | None) -> Request:
    """Asks what any coordinator would; what a scorer says does not matter."""
    asked = plan.rounds[number - 1]
    arrays = {}
    if asked.query == "evaluate":
        width = plan.encoding.width
        arrays = {
            "groups": groups_of_one(plan.encoding),
            "questions": np.array([[0, 1, -1]], dtype=np.int32),
            "weights": np.linspace(-1, 1, width + 1, dtype=np.float32)[None],
            "edges": np.linspace(-2, 2, BINS - 1, dtype=np.float32)[None],
        }
    elif asked.phase.name in ("pairwise", "class-columns", "three-way"):
        arrays = {"groups": groups_of_one(plan.encoding)}
    elif asked.phase.name == "item-pairs":
        frequent = (np.arange(plan.encoding.num_items) < MOST_FREQUENT).astype(np.int32)
        arrays = {"groups": groups_of_one(plan.encoding), "frequent": frequent}
    elif asked.phase.name == "parities":
        arrays = {"halves": np.minimum(groups_of_one(plan.encoding), 1)}
    return _request(plan, number, roster, arrays)


def _request(
    plan: Plan, number: int, roster: Sequence[str] | None, arrays: dict[str, Any]
) -> Request:
    changes = {} if roster is None else {"roster": tuple(roster)}
    return allowed(plan, number, arrays=arrays, **changes)


def by_the_plans_sites(answer_arrays: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a broken twin that sizes its share of the noise by the plan's sites, not the roster.

    Over three of four sites the sum then has two thirds of the variance that is charged.
    """

    def broken(plan: Plan, asked: Request, *rest: Any, **more: Any) -> Any:
        everyone = tuple(sorted(site.name for site in plan.sites))
        return answer_arrays(plan, dataclasses.replace(asked, roster=everyone), *rest, **more)

    return broken
