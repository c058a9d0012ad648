"""The privacy statement of a release, in the terms of NIST SP 800-226 (March 2025).

It states one claim, "(epsilon, delta)-DP for a unit under assumptions", everything that the
claim rests on, and what it does not cover. Numbers come from the plan and from the sites' signed
ledger extracts; `fedloom release verify` computes them again from both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount

__all__ = ["STATEMENT_FORMAT", "claim_text", "make_statement"]

# Verification holds every word of a statement against this file, so another wording is another
# format.
STATEMENT_FORMAT = "fedloom-dp-statement/1"

_UNITS = {
    "record": (
        "One record, that is one row of one site's table. A person with several rows, at one "
        "site or at several, is covered for each row; see `towards` for one row at every site."
    ),
}
_ASSUMPTIONS = (
    "Each site runs fedloom unmodified, and its vault alone reads the records.",
    "Noise, batches and random states of a site stay secret, and its operating system's entropy "
    "is good.",
    "Bounds, categories and grids of the schema were written from public knowledge, not from "
    "the records.",
    "The records of a site did not change under the study (the vault works on a snapshot).",
    "A site's ledger is the only home over its people; a second home over the same people adds "
    "loss.",
)
_NOT_COVERED = (
    "Facts about the whole population that the data teach, also about people outside it.",
    "Groups: for k units together the guarantee weakens, epsilon k-fold under pure composition.",
    "Timing: how long a site takes to answer may depend on its records.",
    "Floating point: noise is drawn and added in floating-point arithmetic, which leaves traces "
    "that the mathematics of the mechanisms does not know.",
    "Other side channels: memory, power, and what a person with access to a site's machines sees.",
    "Records, or statistics on them, that a site published by other means.",
    "The schema, the study and the names of the sites, which are public.",
    "A declared number of records, where a site gave one: it is public.",
    "Choices made outside fedloom after looking at records, such as trying several studies and "
    "keeping one whose ledger is not the one used here.",
)


def claim_text(epsilon: float, delta: float, unit: str, *, void: bool) -> str:
    """Writes the one claim in a sentence; `void` where a site's noise came from a known seed."""
    return (
        f"({epsilon:.4g}, {delta:g})-differential privacy for the unit '{unit}' at "
        "each site, under the assumptions listed"
        + ("; VOID: noise from a known seed" if void else "")
    )


def make_statement(plan: Plan, accounts: Mapping[str, SiteAccount]) -> dict[str, Any]:
    """Writes the statement of a finished run.

    Args:
      plan: the resolved study that every site signed.
      accounts: what each site's ledger extract shows.

    Returns:
      JSON-able values; `towards` holds the loss towards the public and the coordinator.
    """
    price, delta = plan.price(), plan.delta
    sites = len(plan.sites)
    overlapping = epsilon_pld([plan.event()] * sites, delta) if sites > 1 else price.epsilon
    towards = {
        "disjoint": {
            "meaning": "each person is in one site's table: the largest over the sites",
            "sites_per_person": 1,
            "epsilon": price.epsilon,
            "delta": delta,
        },
        "overlapping": {
            "meaning": f"a person may have a record at each of the {sites} sites: composed",
            "sites_per_person": sites,
            "epsilon": overlapping,
            "delta": delta,
        },
    }
    privacy = plan.body["privacy"]
    unit = str(privacy["unit"])
    insecure = sorted(name for name, account in accounts.items() if account.insecure)
    rehearsal = sorted(name for name, account in accounts.items() if account.rehearsal)
    return {
        "format": STATEMENT_FORMAT,
        "claim": claim_text(price.epsilon, delta, unit, void=bool(insecure)),
        "plan": plan.digest(),
        "unit_of_privacy": {"unit": unit, "meaning": _UNITS.get(unit, unit), "records": 1},
        "neighbouring": {
            "relation": str(privacy["neighbouring"]),
            "meaning": "tables differ by adding or removing one unit; their number is private",
        },
        "definition": "(epsilon, delta)-differential privacy",
        "epsilon": price.epsilon,
        "delta": delta,
        "delta_note": "delta should lie well below one over the number of people",
        "towards": {"public": towards, "coordinator": towards},
        "sites": {name: _site(plan, account) for name, account in sorted(accounts.items())},
        "sites_without_ledger": sorted({site.name for site in plan.sites} - set(accounts)),
        "mechanisms": _mechanisms(plan),
        "accountant": {
            "name": "privacy loss distributions (PLD), dp-accounting",
            "interval": price.interval,
            "source": "Doroshenko et al. 2022, arXiv:2207.04380",
            "cross_check": {"name": "Renyi DP (RDP), dp-accounting", "epsilon": price.epsilon_rdp},
        },
        "preprocessing": {
            "bounds_and_categories": "public schema, written beforehand; nothing fitted on data",
            "schema_digest": str(plan.body["schema_digest"]),
            "values_outside": "numbers are clamped to the bounds, other values become `other`",
            "epsilon": 0.0,
        },
        "composition": {
            "within_a_site": "all rounds of the plan, composed; later rounds may depend on "
            "earlier answers",
            "across_sites": "largest over sites if people are disjoint, composed otherwise",
            "over_time": "each site's ledger composes all its studies and refuses what would "
            "exceed its limit; see `lifetime` of each site",
        },
        "trust_model": {
            "mode": str(privacy["trust"]),
            "meaning": "each site adds its full noise before anything leaves it: each answer "
            "alone is private towards everybody, the coordinator included",
            "who_adds_noise": "the site",
        },
        "randomness": {
            "generator": "AES-CTR keyed from the operating system's entropy",
            "insecure_sites": insecure,
            "floating_point": "not hardened; see not_covered",
        },
        "hyperparameter_tuning": {
            "on_private_data": False,
            "meaning": "every setting is in the plan before the first record is read; any "
            "choice among checkpoints uses the noisy statistics, which are paid for",
        },
        "failure_and_retry": {
            "meaning": "the plan is reserved before the first record is read; an answer is "
            "charged when it is stored, sent or not; the same request gets the same stored answer",
            "spare_rounds": 0,
        },
        "post_processing": "training of the generator at the server, sampling and this report "
        "use noised answers alone and cost nothing; sampling more costs nothing either",
        "rehearsal": {
            "sites": rehearsal,
            "meaning": "rehearsal: covers this run alone" if rehearsal else "none",
        },
        "assumptions": list(_ASSUMPTIONS),
        "not_covered": list(_NOT_COVERED),
    }


def _site(plan: Plan, account: SiteAccount) -> dict[str, Any]:
    price = plan.price()
    return {
        "key": account.key,
        "epsilon": price.epsilon,
        "delta": plan.delta,
        "epsilon_rdp": price.epsilon_rdp,
        "epsilon_of_commits": account.epsilon(plan.delta),
        "rounds_planned": len(plan.rounds),
        "rounds_answered": account.commits,
        "runs_of_this_plan": account.runs,
        "epsilon_of_all_runs": account.epsilon_of_all_runs(plan.delta),
        "lifetime": {
            "meaning": "what the site allows over the life of its records, all studies together; "
            "entries of other studies are left out of the extract, their hashes are not",
            "epsilon_limit": account.epsilon_limit,
            "delta_limit": account.delta_limit,
            "entries_left_out": account.left_out,
        },
        "ledger_head": {"seq": account.seq, "hash": account.head},
        "rehearsal": account.rehearsal,
        "insecure_noise": account.insecure,
    }


def _mechanisms(plan: Plan) -> list[dict[str, Any]]:
    statistics, training = plan.statistics, plan.training
    noise = float(statistics["noise_multiplier"])
    mechanisms: list[dict[str, Any]] = [
        {
            "query": "statistic",
            "mechanism": "Gaussian",
            "where": "at each site",
            "releases": f"a noisy sum of {statistics['kind']} counts",
            "l2_sensitivity": float(statistics["l2_norm"]),
            "noise_multiplier": noise,
            "noise_std": noise * float(statistics["l2_norm"]),
            "rounds": sum(query.query == "statistic" for query in plan.rounds),
        }
    ]
    if training is not None:
        mechanisms.append(
            {
                "query": str(training["query"]),
                "mechanism": "Poisson-subsampled Gaussian (DP-SGD)",
                "where": "at each site",
                "releases": "weights after local steps"
                if training["query"] == "train"
                else "a noisy sum of clipped gradients",
                "sampler": "Poisson",
                "sample_rate": float(training["sample_rate"]),
                "noise_multiplier": float(training["noise_multiplier"]),
                "max_grad_norm": float(training["max_grad_norm"]),
                "rounds": int(training["num_rounds"]),
                "steps_per_round": int(training["local_steps"]),
                "steps": int(training["num_rounds"]) * int(training["local_steps"]),
            }
        )
    return mechanisms
