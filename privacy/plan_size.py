"""What a plan would take: memory, time, and how much of its training would be noise.

All of it is computed from public numbers, before anything is spent. The estimates of memory are
rough and on the high side; a plan above the limit is refused, so that no site fails half-way.
"""

from __future__ import annotations

import math
from typing import Any

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.models.effective_noise import DROWNED, effective_noise
from fedloom.common.models.size import num_parameters
from fedloom.privacy.plan import Plan

__all__ = ["check_size", "expected_seconds", "warnings"]

_LIMIT_BYTES = 2 * 10**9
_BYTES = 8
# A site holds the exact counts, their noise, the noised counts and their packed form at once.
_COPIES_OF_STATISTICS = 5
_BYTES_OF_FLOAT32 = 4
_COPIES_OF_GRADIENTS = 2
# Measured on two cores for tables of about 15 columns: benchmarks/README.md.
_SECONDS_TO_START = 8.0
_SECONDS_OF_MIXTURE_A_CELL = 4e-5
_SECONDS_OF_STEP = {"opacus": 0.02, "functional": 0.02, "fused": 0.008}


def check_size(
    encoding: Encoding,
    model: dict[str, Any],
    statistics: dict[str, Any],
    training: dict[str, Any] | None,
) -> None:
    """Refuses a plan that needs more than 2 GB at a site or at the server.

    Raises:
      StudyError: names what is too large and how to make it smaller.
    """
    needed = statistics["length"] * _BYTES * _COPIES_OF_STATISTICS
    if needed > _LIMIT_BYTES:
        widest = sorted(encoding.features, key=lambda block: -block.size)[:3]
        names = ", ".join(f"{block.name} ({block.size})" for block in widest)
        raise StudyError(
            f"the {statistics['kind']} statistics would hold {statistics['length']:,} numbers and "
            f"take {needed / 1e9:.1f} GB, the limit is {_LIMIT_BYTES / 1e9:.0f} GB; give the "
            f"columns with most categories fewer bins or values: {names}"
        )
    if training is not None:
        parameters = num_parameters(model, encoding)
        at_once = training["max_physical_batch"] if training["engine"] != "fused" else 2
        needed = parameters * _BYTES_OF_FLOAT32 * _COPIES_OF_GRADIENTS * at_once
        if needed > _LIMIT_BYTES:
            raise StudyError(
                f"the model's {parameters:,} parameters would take {needed / 1e9:.1f} GB at a "
                f"site with {at_once} gradients at once, the limit is {_LIMIT_BYTES / 1e9:.0f} "
                "GB; lower [training] max_physical_batch, [model] hidden, or choose "
                'engine = "fused"'
            )


def expected_seconds(plan: Plan) -> float:
    """Returns a rough time for the whole plan in one process on two cores."""
    training = plan.training
    seconds = _SECONDS_TO_START
    if training is None:
        components = math.sqrt(plan.statistics["length"])
        return seconds + _SECONDS_OF_MIXTURE_A_CELL * components * 600
    steps = training["num_rounds"] * training["local_steps"] * len(plan.sites)
    return seconds + steps * _SECONDS_OF_STEP[training["engine"]]


def warnings(plan: Plan) -> list[str]:
    """Says, before anything is spent, where noise would drown what a site's training tells.

    A site is looked at with its declared number of records; where no site declares one, the
    number is named from which on training would tell something.
    """
    training = plan.training
    if training is None:
        return []
    parameters = num_parameters(plan.model, plan.encoding)
    declared = [site for site in plan.sites if site.records is not None]
    lines = []
    for site in declared:
        noise = effective_noise(
            training, num_parameters=parameters, records=float(site.records or 1)
        )
        if noise >= DROWNED:
            lines.append(
                f"noise would drown what {site.name!r} with {site.records} records tells in "
                f"training: effective noise {noise:.2f}, useful below {DROWNED:g}; ask for a "
                "larger epsilon, fewer steps or a smaller model"
            )
    if not declared:
        one = effective_noise(training, num_parameters=parameters, records=1.0)
        lines.append(
            f"no site declares its size; training tells something of a site from about "
            f"{math.ceil(one / DROWNED):,} records on, below that its noise drowns the signal"
        )
    return lines
