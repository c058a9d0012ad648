"""Records from a published generator, free of charge: conditions, constraints, gaps filled."""

from __future__ import annotations

from fedloom.common.sampling.draw import Sampler, sample, sample_chunks, sample_codes
from fedloom.common.sampling.imputing import Imputation, impute
from fedloom.common.sampling.sources import array_shapes
from fedloom.common.sampling.tally import Tally

__all__ = [
    "Imputation",
    "Sampler",
    "Tally",
    "array_shapes",
    "impute",
    "sample",
    "sample_chunks",
    "sample_codes",
]
