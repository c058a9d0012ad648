"""What a plan would take: memory, time, and how much of its training would be noise.

All of it is computed from public numbers, before anything is spent. The estimates of memory are
rough and on the high side; a plan above the limit is refused, so that no site fails half-way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.marginals import OneWayMarginals
from fedloom.common.models.effective_noise import DROWNED, effective_noise
from fedloom.common.models.registry import ModelSettings, model_kind, num_parameters
from fedloom.common.models.settings import Training
from fedloom.common.records import Coder
from fedloom.common.study import StatisticsSettings
from fedloom.common.vocabulary import Engine
from fedloom.privacy.physical_rows import physical_rows
from fedloom.privacy.plan import Plan

__all__ = [
    "check_candidates_size",
    "check_image_sums_size",
    "check_statistics_size",
    "check_training_size",
    "expected_seconds",
    "limits_of_training",
    "max_pair_cells",
    "noise_warnings",
]

_LIMIT_BYTES = 2 * 10**9
_LIMIT_CANDIDATES = 256 * 10**6
_BYTES = 8
# A site holds the exact counts, their noise, the noised counts and their packed form at once.
_COPIES_OF_STATISTICS = 5
_BYTES_OF_FLOAT32 = 4
_COPIES_OF_GRADIENTS = 2
# Weights, optimiser, sums and noise in double precision, and the packed answer.
_COPIES_OF_SUMS = 8
# Measured on two cores for tables of about 15 columns: benchmarks/README.md.
_SECONDS_TO_START = 8.0
_SECONDS_OF_MIXTURE_A_CELL = 4e-5
_SECONDS_OF_DISCOVERY_A_CELL = 2e-7
_SECONDS_OF_STEP = {Engine.OPACUS: 0.02, Engine.FUSED: 0.008}


def check_statistics_size(encoding: Encoding, statistics: StatisticsSettings) -> None:
    """Refuses counts of a table that need more than 2 GB at a site or at the server.

    Raises:
      StudyError: names what is too large and how to make it smaller.
    """
    length = OneWayMarginals(encoding).length
    needed = length * _BYTES * _COPIES_OF_STATISTICS
    if needed > _LIMIT_BYTES:
        widest = sorted(encoding.features, key=lambda block: -block.size)[:3]
        names = ", ".join(f"{block.name} ({block.size})" for block in widest)
        raise StudyError(
            f"the first statistics would hold {length:,} numbers and "
            f"take {needed / 1e9:.1f} GB, the limit is {_LIMIT_BYTES / 1e9:.0f} GB; give the "
            f"columns with most categories fewer bins or values: {names}"
        )
    num_pairs = len(encoding.features) * (len(encoding.features) - 1) // 2
    if statistics.kind != "one-way" and encoding.num_classes * num_pairs > max_pair_cells(
        statistics
    ):
        raise StudyError(
            f"{num_pairs:,} pairs of columns in {encoding.num_classes} classes do not fit into "
            f"[statistics] memory_mb = {statistics.memory_mb}; raise it, or leave columns out"
        )


def check_image_sums_size(cells: int, num_classes: int) -> None:
    """Refuses sums over images that need more than 2 GB at a site or at the server.

    Args:
      cells: numbers of the largest sum.
      num_classes: that images are summed within; the largest sums grow with it.

    Raises:
      StudyError: names what is too large and how to make it smaller.
    """
    needed = cells * _BYTES * _COPIES_OF_STATISTICS
    if needed > _LIMIT_BYTES:
        raise StudyError(
            f"the largest sum over images would hold {cells:,} numbers and take "
            f"{needed / 1e9:.1f} GB for {num_classes} classes, the limit is "
            f"{_LIMIT_BYTES / 1e9:.0f} GB; give the target fewer values, or the columns beside "
            "the images fewer bins or values"
        )


def check_candidates_size(needed: int, num_classes: int) -> None:
    """Refuses candidate images that make a request of more than 256 MB.

    Args:
      needed: bytes of the candidates of one round.
      num_classes: that have candidates.

    Raises:
      StudyError: they do.
    """
    if needed > _LIMIT_CANDIDATES:
        raise StudyError(
            f"the candidate images of {num_classes} classes would take {needed / 1e6:.0f} MB in "
            f"each round of votes, the limit is {_LIMIT_CANDIDATES / 1e6:.0f} MB; lower "
            "[model.votes] candidates, or give the target fewer values"
        )


def check_training_size(coder: Coder, model: ModelSettings, training: Training) -> None:
    """Refuses training that needs more than 2 GB at a site or at the server.

    Raises:
      StudyError: names what is too large and how to make it smaller.
    """
    kind = model_kind(model.kind)
    parameters = num_parameters(model, coder) + kind.generator_parameters(model, coder)
    at_once = _COPIES_OF_SUMS
    if training.engine is not Engine.FUSED:  # a gradient for each record
        at_once = physical_rows(training.max_physical_batch)
    needed = parameters * _BYTES_OF_FLOAT32 * _COPIES_OF_GRADIENTS * at_once
    if needed > _LIMIT_BYTES:
        raise StudyError(
            f"the model's {parameters:,} parameters would take {needed / 1e9:.1f} GB at a "
            f"site with {at_once} gradients at once, the limit is {_LIMIT_BYTES / 1e9:.0f} "
            "GB; lower [training] max_physical_batch, [model] hidden, or choose "
            'engine = "fused"'
        )


def max_pair_cells(statistics: StatisticsSettings) -> int:
    """Returns how many counts of pairs fit into the memory that a study allows."""
    return int(statistics.memory_mb * 1e6 / (_BYTES * _COPIES_OF_STATISTICS))


def expected_seconds(plan: Plan) -> float:
    """Returns a rough time for the whole plan in one process on two cores."""
    training = plan.training
    seconds = _SECONDS_TO_START
    if plan.learns_schema:
        return seconds + _SECONDS_OF_DISCOVERY_A_CELL * plan.discovery.length * len(plan.sites)
    if training is None:
        return seconds + _SECONDS_OF_MIXTURE_A_CELL * plan.encoding.width * 600
    settings = training.settings
    steps = settings.num_rounds * settings.local_steps * len(plan.sites)
    return seconds + steps * _SECONDS_OF_STEP[settings.engine]


def limits_of_training(plan: Plan, records: float) -> list[str]:
    """Says, after a run, what training could not tell: for whoever reads the release.

    Args:
      plan: the plan that was carried out.
      records: noisy number of records over all sites.
    """
    training = plan.training
    if training is None:
        return []
    noise = effective_noise(
        training.settings,
        training.noise_multiplier,
        num_parameters=num_parameters(plan.model, plan.coder),
        records=records,
        num_sites=_noises(plan),
    )
    if noise < DROWNED:
        return []
    drowned = (
        f"Noise drowned most of what training could tell (effective noise {noise:.2f}, useful "
        f"below {DROWNED:g}), so the generator stayed near "
    )
    if len(plan.statistics) > 1:
        return [drowned + "the one that the noisy counts of pairs of columns gave."]
    label = "" if plan.target is None else f" other than with {plan.target!r}"
    return [
        f"{drowned}the noisy marginals: relations among columns{label} are weak or missing in "
        "these data."
    ]


def noise_warnings(plan: Plan) -> list[str]:
    """Says, before anything is spent, where noise would drown what training tells.

    All sites are looked at together and, in per-site trust, each site alone too, because sums and
    averages over sites cancel noise. Where a site declares no size, the size is named from which
    on training would tell something: the number of records is private.
    """
    training = plan.training
    if training is None:
        return []
    parameters = num_parameters(plan.model, plan.coder)

    def noise(records: float, noises: int) -> float:
        return effective_noise(
            training.settings,
            training.noise_multiplier,
            num_parameters=parameters,
            records=records,
            num_sites=noises,
        )

    num_sites, noises = len(plan.sites), _noises(plan)
    declared = [site.records for site in plan.sites if site.records is not None]
    lines = []
    for site in plan.sites if plan.colluding is None else ():
        if site.records is not None and noise(site.records, 1) >= DROWNED:
            lines.append(
                f"site {site.name!r} with {site.records:,} records: noise would drown what its "
                f"training tells, effective noise {noise(site.records, 1):.2f}, useful below "
                f"{DROWNED:g}"
            )
    if len(declared) < num_sites:
        lines.append(_threshold(plan, noise))
    elif noise(sum(declared), noises) >= DROWNED:
        lines.append(
            f"all {num_sites} sites together, {sum(declared):,} records: effective noise "
            f"{noise(sum(declared), noises):.2f}, useful below {DROWNED:g}; the generator "
            "would stay near the noisy marginals: raise epsilon, take fewer parameters or more "
            'records, or choose kind = "mixture"'
        )
    elif lines:
        lines.append(
            f"all {num_sites} sites together, {sum(declared):,} records: effective noise "
            f"{noise(sum(declared), noises):.2f}, which is useful"
        )
    return lines


# What a generator starts from: the look alone, or pairs too.
_START = {False: "the noisy marginals", True: "the one that the noisy counts of pairs give"}


def _noises(plan: Plan) -> int:
    """How many independent noises add up: one a site, or one in a secure sum."""
    return len(plan.sites) if plan.colluding is None else 1


def _threshold(plan: Plan, noise: Callable[[float, int], float]) -> str:
    """Names the sizes from which training tells something."""
    num_sites = len(plan.sites)
    together = math.ceil(noise(1.0, _noises(plan)) / DROWNED)
    if plan.colluding is not None:
        return (
            f"training tells something from about {together:,} records on, over all {num_sites} "
            f"sites together (effective noise {DROWNED:g}); below that the generator stays near "
            f"{_START[len(plan.statistics) > 1]}"
        )
    alone = math.ceil(noise(1.0, 1) / DROWNED)
    return (
        f"a site that declares no size tells something by training from about {alone:,} "
        f"records on, all {num_sites} sites together from about {together:,} records in all "
        f"(effective noise {DROWNED:g}); below that the generator stays near the noisy "
        "marginals"
    )
