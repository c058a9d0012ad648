"""A plan in plain words: what leaves a site, to whom, at which price; read before approving."""

from __future__ import annotations

from fedloom.client.columns_in_words import columns_in_words
from fedloom.common.models.image_settings import votes_of_model
from fedloom.common.models.vote_settings import FREQUENCIES
from fedloom.common.privacy_settings import PrivacySettings
from fedloom.common.study import SiteEntry
from fedloom.common.vocabulary import Unit
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.epsilon_by_party import noise_factors, with_noise_scaled

__all__ = ["in_plain_words", "in_runs"]


def in_plain_words(plan: Plan, *, site: str, runs: int = 1) -> list[str]:
    """Says what will leave the site, of which columns, how often, to whom, and the worst price.

    Args:
      plan: what the steward is asked to approve.
      site: the steward's.
      runs: how many runs the approval would be for.
    """
    return [
        *_who_asks(plan, site, runs),
        *(_keys(plan) if plan.colluding is not None else []),
        *(f"  {phase.in_words(plan.privacy)}" for phase in plan.phases),
        *_open_columns(plan),
        *columns_in_words(plan),
        *_votes(plan),
        *_public(plan),
        *_price(plan, runs),
        "Nothing else leaves but software versions and, at the end, the ledger's signed entries "
        "about this plan.",
        "Not covered: the time that answers take, floating point effects, what is true of "
        "people in general.",
    ]


def in_runs(number: int) -> str:
    """Returns a number of runs in words.

    >>> in_runs(1), in_runs(3)
    ('one run', '3 runs')
    """
    return "one run" if number == 1 else f"{number} runs"


def _who_asks(plan: Plan, site: str, runs: int) -> list[str]:
    return [
        f"Study {plan.name!r} with {len(plan.sites)} sites: "
        + ", ".join(entry.name for entry in plan.sites),
        f"Asked by whoever holds the coordinator's key {_fingerprint(plan.coordinator_key)}, and "
        "by nobody else; have the coordinator read it to you.",
        f"Asked of {site}: {len(plan.rounds)} answers in all"
        + ("." if runs == 1 else f" in each of {runs} runs, {runs * len(plan.rounds)} together."),
        f"An approval is for {in_runs(runs)}, and no more; a further one needs another approval.",
    ]


def _keys(plan: Plan) -> list[str]:
    """The keys that a secure sum rests on, as people compare them."""
    return [
        *(f"  keys of {entry.name}: {_fingerprints(entry)}" for entry in plan.sites),
        "  Compare them with every other steward by telephone or signed mail, not through the "
        "coordinator: keys of its own under their names would show it this site's part.",
    ]


def _open_columns(plan: Plan) -> list[str]:
    if not plan.learns_schema:
        return []
    names = ", ".join(column.name for column in plan.schema.open_columns)
    return [f"  It completes the schema: {names}. No records are made by this study."]


def _votes(plan: Plan) -> list[str]:
    """Says between what records vote, and whose code looks at them for it."""
    votes = votes_of_model(plan.model)
    if votes is None:
        return []
    drawn = "images that earlier answers give"
    if votes.simulator is not None:
        drawn += f", and images by the simulator {votes.simulator!r} of {votes.simulator_from}"
    lines = [
        f"  Each record names the nearest of {votes.candidates} candidate images of its class, in "
        f"{votes.rounds} round{'s' if votes.rounds > 1 else ''}: {drawn}, at the coordinator.",
    ]
    if votes.features != FREQUENCIES:
        lines.append(
            f"  Images are compared by the embedding {votes.features!r}, weights SHA-256 "
            f"{votes.weights}: code that is installed at this site beside fedloom and sees every "
            "image. Approve it only if this site trusts that package."
        )
    return lines


def _public(plan: Plan) -> list[str]:
    """Says that a public table takes part, and on which condition that costs nothing."""
    if plan.public is None:
        return []
    if plan.public.same_records:
        return [
            "  Answers of an earlier release about the same records take part at the coordinator: "
            f"{plan.public.source}, manifest {plan.public.manifest}.",
            f"  Its price, ({plan.public.epsilon:.4g}, {plan.public.delta:g}) by its statement, "
            "and this study's add up for these records; this site's ledger adds them.",
        ]
    if plan.public.release is not None:
        return [
            "  Synthetic rows of an earlier release take part at the coordinator: "
            f"{plan.public.source}, manifest {plan.public.manifest}.",
            "  They cost nothing more: whoever is in its records and in this site's has its price, "
            "by its own statement, and this study's.",
        ]
    return [
        f"  A public table takes part at the coordinator: {plan.public.table} "
        f"({plan.public.source}), SHA-256 {plan.public.sha256}.",
        "  It costs nothing only if it holds none of this site's records and was not chosen by "
        "looking at any; its counts are published without noise. Refuse the plan if you know "
        "better.",
    ]


def _price(plan: Plan, runs: int) -> list[str]:
    """Who sees the answers, and the worst that a unit can lose by them."""
    privacy, masked = plan.privacy, plan.colluding is not None
    together = "" if runs == 1 else f", all {runs} runs together"
    return [
        f"Who sees it: the coordinator sees sums over at least {plan.min_sites} "
        "sites alone; this site's part is masked. The price holds also if "
        f"the coordinator learns all that {_sites(plan.colluding)} of them may know."
        if masked
        else "Who sees it: the coordinator, and whoever it shows it to; each answer is private "
        "alone.",
        f"Worst price{_TOWARDS[masked]}{together}: epsilon {plan.price(runs).epsilon:.4g} at delta "
        f"{plan.delta:g} for one {_unit_in_words(privacy)}, added or removed, with records at "
        f"{_sites(privacy.overlap)} at most, whatever the reader knows otherwise.",
        *_fellow_site(plan, runs),
    ]


_TOWARDS = {False: "", True: " towards the coordinator"}


def _fellow_site(plan: Plan, runs: int) -> list[str]:
    """Says what another site can learn from a secure sum, whose noise it knows its own part of."""
    if plan.colluding is None:
        return []
    factor, epsilon = noise_factors(plan)["fellow_site"], plan.price(runs).epsilon
    if factor != 1.0:
        epsilon = epsilon_pld(with_noise_scaled(plan.event_of(runs), factor), plan.delta)
    return [
        f"Price towards another site on its own, which knows its own part of the noise: epsilon "
        f"{epsilon:.4g} at delta {plan.delta:g}."
    ]


def _fingerprints(entry: SiteEntry) -> str:
    """Names both keys as people compare them; a plan without them is refused elsewhere."""
    keys = (("key", entry.key), ("exchange-key", entry.exchange_key))
    return ", ".join(f"{name} {_fingerprint(key)}" for name, key in keys)


def _fingerprint(key: str | None) -> str:
    return "none" if key is None else fingerprint(key)


def _sites(number: int | None) -> str:
    return "1 site" if number == 1 else f"{number} sites"


def _unit_in_words(privacy: PrivacySettings) -> str:
    if privacy.unit is Unit.RECORD:
        return "record"
    return f"person (of column {privacy.id!r}, {privacy.rows_per_person} rows at most)"
