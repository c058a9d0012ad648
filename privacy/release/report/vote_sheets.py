"""What records voted for: the candidates of each class that had most votes, and their part of all.

Post-processing of the last round's noisy counts, and of candidates that are public.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedloom.privacy.answers.opened_images import NoisyImages
from fedloom.privacy.release.report.sheets import Sheet, contact_sheets

__all__ = ["VoteSheet", "vote_sheets"]

_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteSheet:
    """The votes of one class.

    Attributes:
      sheet: of the candidates beside the mixture's that had most votes, the first one most.
      part: of the class's votes that were for any of these candidates, noise included.
      std: of the noise in `part`, to first order.
    """

    sheet: Sheet
    part: float
    std: float


def vote_sheets(statistics: NoisyImages) -> list[VoteSheet]:
    """Returns the votes of each class that may be synthesised; nothing without votes."""
    if not statistics.votes:
        return []
    last, encoding = statistics.votes[-1], statistics.encoding
    candidates = last.request_arrays["candidates"]
    votes, noise = last.values().reshape(candidates.shape[:2]), last.stds[0]
    half = candidates.shape[1] // 2
    images, labels, numbers = [], [], {}
    for number, label in enumerate(encoding.class_labels):
        if encoding.class_sampleable[number]:
            order = np.argsort(-votes[number, half:], kind="stable")[:_SHOWN]
            images += list(candidates[number, half:][order])
            labels += [label] * len(order)
            numbers[label] = number
    found = []
    for sheet in contact_sheets(images, labels):
        own = votes[numbers[sheet.label]]
        total, beside = max(float(own.sum()), 1.0), float(own[half:].sum())
        part = min(max(beside / total, 0.0), 1.0)
        first, others = half * part**2, (len(own) - half) * (1.0 - part) ** 2
        std = noise * math.sqrt(first + others) / total
        found.append(VoteSheet(sheet=sheet, part=part, std=std))
    return found
