"""The privacy statement of a release, in the terms of NIST SP 800-226 (March 2025).

It states one claim, "(epsilon, delta)-DP for a unit under assumptions", with the price of a
learned schema beside the plan's own, everything that the claim rests on, and what it does not
cover. Numbers come from the plan and from the sites' signed ledger extracts; `fedloom release
verify` computes them again from both.

Sentences stand under the key `text` and nowhere else. They are not part of the format: whatever
matters in one stands beside it as a number, a flag or a stable code, and those are verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.common.models.image_settings import votes_of_model
from fedloom.common.public_data import PublicData
from fedloom.common.typed import plain
from fedloom.common.vocabulary import NoiseAt, Trust, Unit
from fedloom.privacy.plan import NEIGHBOURING, Plan
from fedloom.privacy.release.account import SiteAccount
from fedloom.privacy.release.assumptions import assumptions, not_covered
from fedloom.privacy.release.attempts import attempts_of
from fedloom.privacy.release.epsilon_by_party import at_every_site, epsilon_by_party
from fedloom.privacy.release.schema_price import composed, preprocessing, with_the_schema

__all__ = ["STATEMENT_FORMAT", "make_statement"]

STATEMENT_FORMAT = "fedloom-dp-statement/6"


def make_statement(plan: Plan, accounts: Mapping[str, SiteAccount]) -> dict[str, Any]:
    """Writes the statement of a finished run.

    Args:
      plan: the resolved study that every site signed.
      accounts: what each site's ledger extract shows.

    Returns:
      JSON-able values; `towards` holds the loss towards coordinator, fellow sites and public.
    """
    runs = max(1, *(account.runs_priced for account in accounts.values()))
    insecure = sorted(name for name, account in accounts.items() if account.insecure)
    rehearsal = sorted(name for name, account in accounts.items() if account.rehearsal)
    return {
        "format": STATEMENT_FORMAT,
        "claim": _claim(plan, void=bool(insecure), runs=runs),
        "plan": plan.digest(),
        "unit_of_privacy": _unit(plan),
        "neighbouring": {
            "relation": NEIGHBOURING,
            "text": "tables differ by adding or removing one unit; their number is private",
        },
        "definition": {"name": "approximate-dp", "text": "(epsilon, delta)-differential privacy"},
        **_price(plan, runs),
        "sites": {name: _site(plan, account) for name, account in sorted(accounts.items())},
        "sites_without_ledger": sorted({site.name for site in plan.sites} - set(accounts)),
        **_noise(plan, insecure),
        "hyperparameter_tuning": {
            "on_private_data": False,
            "text": "every setting is in the plan before the first record is read; any "
            "choice among checkpoints uses the noisy statistics, which are paid for",
        },
        "held_back": _held_back(plan),
        "failure_and_retry": _retries(plan, accounts),
        "post_processing": {
            "epsilon": 0.0,
            "text": "training of the generator at the server, sampling and the report use noised "
            "answers alone and cost nothing; sampling more costs nothing either",
        },
        **_public_data(plan),
        **_votes(plan),
        "rehearsal": {
            "sites": rehearsal,
            "text": "rehearsal: covers this run alone" if rehearsal else "none",
        },
        "assumptions": assumptions(plan),
        "not_covered": not_covered(),
    }


def _public_data(plan: Plan) -> dict[str, Any]:
    """Names what the fit began with beside the answers; nothing in a plan without `[public]`."""
    if plan.public is None:
        return {}
    if plan.public.same_records:
        return {"public_data": _same_records(plan, plan.public)}
    return {
        "public_data": {
            "epsilon": 0.0,
            **plain(plan.public),
            "text": "a public table was the prior of the fit: it costs nothing if it holds none of "
            "the records and was not chosen by looking at them (see assumptions); its counts are "
            "in public.safetensors, without noise",
        }
    }


def _votes(plan: Plan) -> dict[str, Any]:
    """Names what drew candidates and what compared them; nothing in a plan without votes."""
    votes = votes_of_model(plan.model)
    if votes is None:
        return {}
    return {
        "votes": {
            "simulator": votes.simulator,
            "simulator_from": votes.simulator_from,
            "features": votes.features,
            "weights": votes.weights,
            "text": "records voted for candidate images, which are in the requests in `answers/`; "
            "a simulator costs nothing if it was not made by looking at the records (see "
            "assumptions)",
        }
    }


def _same_records(plan: Plan, public: PublicData) -> dict[str, Any]:
    """States what an earlier release of the same records and this one cost together."""
    assert public.epsilon is not None and public.delta is not None
    epsilon, delta = plan.price().epsilon + public.epsilon, plan.delta + public.delta
    return {
        **plain(public),
        "together": {"epsilon": epsilon, "delta": delta},
        "text": "answers of an earlier release about the same records were put together with "
        f"these; both budgets add up for them: ({epsilon:.4g}, {delta:g}) together, the sum of "
        "both, and the claim above is of this study alone",
    }


def _claim(plan: Plan, *, void: bool, runs: int = 1) -> dict[str, Any]:
    """States what is claimed.

    Args:
      plan: the plan that was carried out.
      void: whether a site's noise came from a known seed.
      runs: how many runs of the plan are priced together.

    Returns:
      The claim's numbers and codes. `place` is where the noise is whole: "each-site", or
      "coordinator" for a secure sum, towards which `colluding` sites may tell all they know.
      `with_the_schema` is the price of plan and schema together, None if nothing was learned.
      `text` says all of it in a sentence.
    """
    privacy, epsilon, delta = plan.privacy, plan.price(runs).epsilon, plan.delta
    place, schema, whole = "at each site", "", None
    if plan.colluding is not None:
        sites = plan.colluding
        place = "towards the coordinator" + (
            f" and any {sites} site{'s' if sites > 1 else ''}" if sites else ""
        )
    several = "" if runs == 1 else f", for {runs} runs of the plan together"
    if plan.schema.learned:
        both = composed(plan.schema.learned, epsilon, delta)
        whole = {"epsilon": both[0], "delta": both[1]}
        schema = (
            f", for this study alone; ({both[0]:.4g}, {both[1]:g}) with the schema, which was "
            "learned from records at a price of its own (the sum of both)"
        )
    return {
        "epsilon": epsilon,
        "delta": delta,
        "runs": runs,
        "unit": privacy.unit.value,
        "place": "each-site" if plan.colluding is None else "coordinator",
        "colluding": plan.colluding,
        "with_the_schema": whole,
        "void": void,
        "text": f"({epsilon:.4g}, {delta:g})-differential privacy for the unit "
        f"'{privacy.unit}' {place}{several}{schema}, under the assumptions listed"
        + ("; VOID: noise from a known seed" if void else ""),
    }


def _price(plan: Plan, runs: int) -> dict[str, Any]:
    """What so many runs cost together, towards whom, and how that was computed."""
    price, delta, privacy = plan.price(runs), plan.delta, plan.privacy
    return {
        "epsilon": price.epsilon,
        "delta": delta,
        "runs": {
            "priced": runs,
            "text": "runs of this plan whose price together is stated, at the site where they are "
            "most: all that were answered, and all that an approval still allows. This release is "
            "made from one of them, and may have been chosen among them",
        },
        "with_the_schema": with_the_schema(plan, runs),
        "towards": epsilon_by_party(plan, runs),
        "overlap": {
            "sites_per_unit": privacy.overlap,
            "sites": len(plan.sites),
            "epsilon_at_every_site": at_every_site(plan, runs),
            "text": "every epsilon here holds for a unit with rows at no more sites than that",
        },
        "accountant": {
            "name": "pld",
            "library": "dp-accounting",
            "interval": price.interval,
            "source": "arXiv:2207.04380",
            "cross_check": {"name": "rdp", "epsilon": price.epsilon_rdp},
            "text": "privacy loss distributions, after Doroshenko et al. 2022; beside them Renyi "
            "DP",
        },
        "preprocessing": preprocessing(plan),
        "composition": {
            "adaptive": True,
            "sites": privacy.overlap,
            "text": "all rounds of the plan are composed; later ones may depend on earlier "
            "answers. A unit's answers at up to `sites` sites are composed in every event. Each "
            "site's ledger composes all its studies and refuses what would exceed its limit; see "
            "`lifetime` of each site",
        },
    }


def _noise(plan: Plan, insecure: list[str]) -> dict[str, Any]:
    """What was done to records, who added the noise, and where it came from."""
    where = NoiseAt.EACH_SITE if plan.colluding is None else NoiseAt.SUM
    return {
        "mechanisms": [plain(line) for phase in plan.phases for line in phase.mechanisms(where)],
        "trust_model": _trust(plan),
        "randomness": {
            "generator": "aes-ctr-from-os-entropy",
            "insecure_sites": insecure,
            "grid": "power-of-two",
            "floating_point_hardened": False,
            "text": "noise comes from AES-CTR keyed by the operating system's entropy. Every sum "
            "is made of integers in units of a public power of two, `grid_step`; counts are "
            "exact in it, and what rounding adds to the sensitivity of a sum of real numbers is in "
            "its noise. Floating point is not hardened beyond that; see not_covered",
        },
    }


def _unit(plan: Plan) -> dict[str, Any]:
    privacy = plan.privacy
    places = "one site" if privacy.overlap == 1 else f"up to {privacy.overlap} sites"
    if privacy.unit is Unit.RECORD:
        where = "of one site's table" if privacy.overlap == 1 else f"at each of {places}"
        text = (
            f"One record: one row {where}. A person with more rows than that is covered for each "
            "row alone."
        )
    else:
        rows = privacy.rows_per_person
        text = (
            f"One person: all rows with one value of the column '{privacy.id}', at {places}. "
            + (
                "One row of each person"
                if rows == 1
                else f"At most {rows} rows of each person and site"
            )
            + " are used, chosen by a secret keyed draw; a person's rows count as one "
            "contribution."
        )
    return {
        "unit": privacy.unit.value,
        "id": privacy.id,
        "rows_per_person": privacy.rows_per_person,
        "sites_per_unit": privacy.overlap,
        "text": text,
    }


def _trust(plan: Plan) -> dict[str, Any]:
    colluding = plan.colluding
    if colluding is None:
        return {
            "mode": Trust.PER_SITE.value,
            "who_adds_noise": "each-site-in-full",
            "text": "each site adds its full noise before anything leaves it: each answer "
            "alone is private towards everybody, the coordinator included",
        }
    return {
        "mode": Trust.SECURE_SUM.value,
        "who_adds_noise": "each-site-a-share",
        "colluding": colluding,
        "least_roster": plan.min_sites,
        "noise_shared_by": "roster-minus-colluding",
        "masks": {
            "agreement": "X25519",
            "derivation": "HKDF-SHA256",
            "cipher": "AES-256-CTR",
            "modulus_bits": 64,
        },
        "rounding": {"by": "share", "log10_delta_below": -1000},
        "text": "each site adds a share of the noise and masks its answer; the coordinator "
        "sees only the sum over the sites that it asked, and no site's own number. Noise is "
        "planned for the sites that do not collude, so the sum of all holds more than the study's "
        "epsilon counts on. Each two sites agree on masks by the exchange keys in the plan, over "
        "the request. Shares are rounded one by one; what that adds to delta is below 10^-1000 "
        "(docs/secure-sum.md)",
    }


def _held_back(plan: Plan) -> dict[str, Any]:
    if plan.evaluation is None:
        return {"chance": 0.0, "text": "every unit may be in every query"}
    return {
        "chance": plan.evaluation.hold_back,
        "text": "each unit is held back or not by its own secret coin, tossed once at approval; "
        "held-back units are in no query but `evaluate`, and all others in none of that",
    }


def _retries(plan: Plan, accounts: Mapping[str, SiteAccount]) -> dict[str, Any]:
    return {
        "charged": "when-stored",
        "spare_rounds": {phase.name: phase.spare_rounds for phase in plan.phases},
        "void_attempts": [
            {"round": one.round, "attempt": one.attempt, "charged_at": list(one.sites)}
            for one in attempts_of(accounts)
            if one.void
        ],
        "text": "the plan is reserved before the first record is read; an answer is "
        "charged when it is stored, sent or not; the same request gets the same stored answer. A "
        "secure sum to which a site stays silent is void, its answers are charged, and it is asked "
        "again from the spare rounds, which are in the price",
    }


def _site(plan: Plan, account: SiteAccount) -> dict[str, Any]:
    price = plan.price(max(1, account.runs_priced))
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
        "runs_priced": account.runs_priced,
        "epsilon_of_all_runs": account.epsilon_of_all_runs(plan.delta),
        "learned": [
            {"plan": one.plan, "runs": one.runs, "epsilon": one.epsilon} for one in account.learned
        ],
        "lifetime": {
            "epsilon_limit": account.epsilon_limit,
            "delta_limit": account.delta_limit,
            "entries_left_out": account.left_out,
            "text": "what the site allows over the life of its records, all studies together; "
            "entries of other studies are left out of the extract, their hashes are not",
        },
        "ledger_head": {"seq": account.seq, "hash": account.head},
        "rehearsal": account.rehearsal,
        "insecure_noise": account.insecure,
    }
