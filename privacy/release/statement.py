"""The privacy statement of a release, in the terms of NIST SP 800-226 (March 2025).

It states one claim, "(epsilon, delta)-DP for a unit under assumptions", with the price of a
learned schema beside the plan's own, everything that the claim rests on, and what it does not
cover. Numbers come from the plan and from the sites' signed ledger extracts; `fedloom release
verify` computes them again from both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedloom.common.learned import Learned
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.attempts import attempts_of
from fedloom.privacy.release.mechanisms import mechanisms_of
from fedloom.privacy.release.parties import at_every_site, towards
from fedloom.privacy.release.schema_price import composed, preprocessing, with_the_schema

__all__ = ["STATEMENT_FORMAT", "claim_text", "make_statement"]

# Verification holds every word of a statement against this file, so another wording is another
# format.
STATEMENT_FORMAT = "fedloom-dp-statement/3"

_ASSUMPTIONS = (
    "Each site runs fedloom unmodified, and its vault alone reads the records.",
    "Noise, batches and random states of a site stay secret, and its operating system's entropy "
    "is good.",
    "Bounds, categories and grids of the schema were written from public knowledge, or bought by "
    "the earlier studies that `preprocessing.learned` names; none was read off the records.",
    "The records of a site did not change under the study (the vault works on a snapshot).",
    "A site's ledger is the only home over its people; a second home over the same people adds "
    "loss.",
)
_ASSUMPTIONS_OF_PERSONS = (
    "A site's id column tells its persons apart: all rows of one person have one id.",
)
_ASSUMPTIONS_OF_LEARNING = (
    "Each price under `preprocessing.learned` holds under the trust, the overlap and the rows per "
    "person of the plan that it names; that plan is not part of this release.",
)
_ASSUMPTIONS_OF_SUMS = (
    "At most {colluding} of the sites tell{s} the coordinator what the site knows; every other "
    "site adds its share of the noise as fedloom does.",
    "The exchange keys in the plan are the sites' own, and X25519, HKDF-SHA256 and AES-256 hide "
    "what they should: towards whoever breaks them a site's part is nearly bare.",
)
_NOT_COVERED = (
    "Facts about the whole population that the data teach, also about people outside it.",
    "Groups: for k units together the guarantee weakens, epsilon k-fold under pure composition.",
    "Timing: how long a site takes to answer may depend on its records.",
    "Floating point: noise is drawn in double precision before it is rounded to the public grid, "
    "and gradients are clipped in single precision; the mathematics of the mechanisms knows "
    "neither.",
    "Other side channels: memory, power, and what a person with access to a site's machines sees.",
    "Records, or statistics on them, that a site published by other means.",
    "A schema that was learned from the records and does not say so: an omitted `[[learned]]` "
    "table cannot be noticed from the release alone.",
    "The schema, the study and the names of the sites, which are public.",
    "A declared number of records, where a site gave one: it is public.",
    "Which sites took part in which round, and when.",
    "Choices made outside fedloom after looking at records, such as trying several studies and "
    "keeping one whose ledger is not the one used here.",
)


def claim_text(
    privacy: Mapping[str, Any],
    epsilon: float,
    delta: float,
    *,
    void: bool,
    learned: Sequence[Learned] = (),
) -> str:
    """Writes the one claim in a sentence.

    Args:
      privacy: the plan's unit and trust.
      epsilon: towards the strongest party of the statement.
      delta: of the claim.
      void: whether a site's noise came from a known seed.
      learned: the studies that learned the schema, whose prices are named beside.
    """
    place = "at each site"
    if privacy["trust"] == "secure-sum":
        sites = privacy["colluding"]
        place = "towards the coordinator" + (
            f" and any {sites} site{'s' if sites > 1 else ''}" if sites else ""
        )
    schema = ""
    if learned:
        whole = composed(learned, epsilon, delta)
        schema = (
            f", for this study alone; ({whole[0]:.4g}, {whole[1]:g}) with the schema, which was "
            "learned from records at a price of its own (the sum of both)"
        )
    return (
        f"({epsilon:.4g}, {delta:g})-differential privacy for the unit '{privacy['unit']}' "
        f"{place}{schema}, under the assumptions listed"
        + ("; VOID: noise from a known seed" if void else "")
    )


def make_statement(plan: Plan, accounts: Mapping[str, SiteAccount]) -> dict[str, Any]:
    """Writes the statement of a finished run.

    Args:
      plan: the resolved study that every site signed.
      accounts: what each site's ledger extract shows.

    Returns:
      JSON-able values; `towards` holds the loss towards coordinator, fellow sites and public.
    """
    price, delta, privacy = plan.price(), plan.delta, plan.privacy
    insecure = sorted(name for name, account in accounts.items() if account.insecure)
    rehearsal = sorted(name for name, account in accounts.items() if account.rehearsal)
    return {
        "format": STATEMENT_FORMAT,
        "claim": claim_text(
            privacy, price.epsilon, delta, void=bool(insecure), learned=plan.schema.learned
        ),
        "plan": plan.digest(),
        "unit_of_privacy": _unit(plan),
        "neighbouring": {
            "relation": str(privacy["neighbouring"]),
            "meaning": "tables differ by adding or removing one unit; their number is private",
        },
        "definition": "(epsilon, delta)-differential privacy",
        "epsilon": price.epsilon,
        "delta": delta,
        "delta_note": "delta should lie well below one over the number of people",
        "with_the_schema": with_the_schema(plan),
        "towards": towards(plan),
        "overlap": {
            "sites_per_unit": int(privacy["overlap"]),
            "meaning": "every epsilon here holds for a unit with rows at no more sites than that",
            "sites": len(plan.sites),
            "epsilon_at_every_site": at_every_site(plan),
        },
        "sites": {name: _site(plan, account) for name, account in sorted(accounts.items())},
        "sites_without_ledger": sorted({site.name for site in plan.sites} - set(accounts)),
        "mechanisms": mechanisms_of(plan),
        "accountant": {
            "name": "privacy loss distributions (PLD), dp-accounting",
            "interval": price.interval,
            "source": "Doroshenko et al. 2022, arXiv:2207.04380",
            "cross_check": {"name": "Renyi DP (RDP), dp-accounting", "epsilon": price.epsilon_rdp},
        },
        "preprocessing": preprocessing(plan),
        "composition": {
            "within_the_plan": "all rounds of the plan, composed; later rounds may depend on "
            "earlier answers",
            "across_sites": "a unit's answers at up to `overlap` sites are composed in every event",
            "over_time": "each site's ledger composes all its studies and refuses what would "
            "exceed its limit; see `lifetime` of each site",
        },
        "trust_model": _trust(plan),
        "randomness": {
            "generator": "AES-CTR keyed from the operating system's entropy",
            "insecure_sites": insecure,
            "grid": "every sum is made of integers in units of a public power of two, "
            "`lattice_unit`; counts are exact in it, and what rounding adds to the sensitivity of "
            "a sum of real numbers is in its noise",
            "floating_point": "not hardened beyond that; see not_covered",
        },
        "hyperparameter_tuning": {
            "on_private_data": False,
            "meaning": "every setting is in the plan before the first record is read; any "
            "choice among checkpoints uses the noisy statistics, which are paid for",
        },
        "held_back": _held_back(plan),
        "failure_and_retry": _retries(plan, accounts),
        "post_processing": "training of the generator at the server, sampling and this report "
        "use noised answers alone and cost nothing; sampling more costs nothing either",
        "rehearsal": {
            "sites": rehearsal,
            "meaning": "rehearsal: covers this run alone" if rehearsal else "none",
        },
        "assumptions": _assumptions(plan),
        "not_covered": list(_NOT_COVERED),
    }


def _unit(plan: Plan) -> dict[str, Any]:
    privacy = plan.privacy
    places = "one site" if privacy["overlap"] == 1 else f"up to {privacy['overlap']} sites"
    if privacy["unit"] == "record":
        where = "of one site's table" if privacy["overlap"] == 1 else f"at each of {places}"
        meaning = (
            f"One record: one row {where}. A person with more rows than that is covered for each "
            "row alone."
        )
    else:
        rows = privacy["rows_per_person"]
        meaning = (
            f"One person: all rows with one value of the column '{privacy['id']}', at {places}. "
            + (
                "One row of each person"
                if rows == 1
                else f"At most {rows} rows of each person and site"
            )
            + " are used, chosen by a secret keyed draw; a person's rows count as one "
            "contribution."
        )
    return {
        "unit": str(privacy["unit"]),
        "meaning": meaning,
        "id": privacy["id"],
        "rows_per_person": int(privacy["rows_per_person"]),
        "sites_per_unit": int(privacy["overlap"]),
    }


def _trust(plan: Plan) -> dict[str, Any]:
    colluding = plan.colluding
    if colluding is None:
        return {
            "mode": "local",
            "meaning": "each site adds its full noise before anything leaves it: each answer "
            "alone is private towards everybody, the coordinator included",
            "who_adds_noise": "the site",
        }
    return {
        "mode": "secure-sum",
        "meaning": "each site adds a share of the noise and masks its answer; the coordinator "
        "sees only the sum over the sites that it asked, and no site's own number",
        "who_adds_noise": "every site of a sum, a share each",
        "colluding": colluding,
        "least_roster": int(plan.coordination["min_sites"]),
        "noise": "planned for the sites that do not collude: each adds variance std^2 / (roster "
        "- colluding), so the sum of all holds more than the study's epsilon counts on",
        "masks": "X25519 between each two sites by the exchange keys in the plan, HKDF-SHA256 "
        "over the request, AES-256 in counter mode; modulo 2^64",
        "rounding": "shares are rounded one by one; what that adds to delta is below 10^-1000 "
        "(docs/secure-sum.md)",
    }


def _held_back(plan: Plan) -> dict[str, Any]:
    if plan.evaluation is None:
        return {"chance": 0.0, "meaning": "every unit may be in every query"}
    return {
        "chance": float(plan.evaluation["hold_back"]),
        "meaning": "each unit is held back or not by its own secret coin, tossed once at approval; "
        "held-back units are in no query but `evaluate`, and all others in none of that",
    }


def _retries(plan: Plan, accounts: Mapping[str, SiteAccount]) -> dict[str, Any]:
    training = plan.training
    return {
        "meaning": "the plan is reserved before the first record is read; an answer is "
        "charged when it is stored, sent or not; the same request gets the same stored answer. A "
        "secure sum to which a site stays silent is void, its answers are charged, and it is asked "
        "again from the spare rounds, which are in the price",
        "spare_rounds": {
            "statistics": int(plan.statistics["spare_rounds"]),
            "training": 0 if training is None else int(training["spare_rounds"]),
        },
        "void_attempts": [
            {"round": one.round, "attempt": one.attempt, "charged_at": list(one.sites)}
            for one in attempts_of(accounts)
            if one.void
        ],
    }


def _assumptions(plan: Plan) -> list[str]:
    places = plan.privacy["overlap"]
    lines = [
        *_ASSUMPTIONS,
        f"No unit has rows at more than {places} of the sites."
        if places < len(plan.sites)
        else "Units may have rows at every site.",
    ]
    if plan.schema.learned:
        lines += _ASSUMPTIONS_OF_LEARNING
    if plan.privacy["unit"] == "person":
        lines += _ASSUMPTIONS_OF_PERSONS
    if plan.colluding is not None:
        s = "s" if plan.colluding == 1 else ""
        lines += [line.format(colluding=plan.colluding, s=s) for line in _ASSUMPTIONS_OF_SUMS]
    return lines


def _site(plan: Plan, account: SiteAccount) -> dict[str, Any]:
    price = plan.price()
    return {
        "key": account.key,
        "exchange_key": plan.site(account.site).exchange_key,
        "epsilon": price.epsilon,
        "delta": plan.delta,
        "epsilon_rdp": price.epsilon_rdp,
        "epsilon_of_commits": account.epsilon(plan.delta),
        "rounds_planned": len(plan.rounds),
        "rounds_answered": account.rounds,
        "attempts_charged": len(account.answered),
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
