"""The part of `vae` and `gan` that statistics with pairs make possible: a generator to start from.

`pretrain_on_pairs` fits a generator's network to the pair tables before any training round;
`refit_to_pairs` pulls it back to them between rounds, so that what noised gradients teach cannot
destroy what the tables have told. Without pairs neither changes anything. All of it is
post-processing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.marginals import NoisyMarginals
from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.pair_fit import PairTables, fit_to_pairs
from fedloom.server.learners.pair_targets import group_of_cells, pair_targets

__all__ = ["PAIRS", "refit_to_pairs", "pair_arrays", "pretrain_on_pairs"]

PAIRS = "pairs/"

_STEPS = 300
_LEARNING_RATE = 0.02
_STEPS_BETWEEN = 3
_LEARNING_RATE_BETWEEN = 0.003
# Operations of a first fit that two cores do in about two minutes; wider tables get fewer steps.
_MAX_OPERATIONS = 2e12
_MIN_STEPS = 40

Arrays = dict[str, NDArray[Any]]


def pair_arrays(statistics: NoisyMarginals) -> Arrays:
    """Returns what a learner's state keeps of the pairs: arrays named `pairs/...`, or none."""
    if not statistics.has_pairs:
        return {}
    sizes = class_prior(statistics) * statistics.total()
    return {
        PAIRS + "targets": pair_targets(statistics),
        PAIRS + "cells": group_of_cells(statistics),
        PAIRS + "sizes": np.asarray(sizes, dtype=np.float64),
        PAIRS + "log_marginals": log_marginals(statistics).astype(np.float32),
    }


def pretrain_on_pairs(
    net: DecoderNet, arrays: Mapping[str, NDArray[Any]], blocks: Blocks, seed: int
) -> None:
    """Fits a fresh network, in place, to the pairs of a state's arrays, if it has any."""
    tables = _tables(arrays)
    if tables is None:
        return
    groups, classes = tables.pairs.shape[1], max(int((tables.sizes > 0).sum()), 1)
    per_step = 6.0 * 1024 * classes * (groups**2 + blocks.width * net.inner.out_features)
    steps = int(min(_STEPS, max(_MIN_STEPS, _MAX_OPERATIONS / per_step)))
    table = torch.from_numpy(np.array(tables.log_marginals))
    fit_to_pairs(net, table, tables, blocks, steps=steps, learning_rate=_LEARNING_RATE, seed=seed)


def refit_to_pairs(
    net: DecoderNet, table: Tensor, arrays: Mapping[str, NDArray[Any]], blocks: Blocks, seed: int
) -> None:
    """Takes a few small steps towards the pairs, in place, if there are any."""
    tables = _tables(arrays)
    if tables is not None:
        fit_to_pairs(
            net,
            table,
            tables,
            blocks,
            steps=_STEPS_BETWEEN,
            learning_rate=_LEARNING_RATE_BETWEEN,
            seed=seed,
            falling=False,
        )


def _tables(arrays: Mapping[str, NDArray[Any]]) -> PairTables | None:
    if PAIRS + "targets" not in arrays:
        return None
    return PairTables(
        pairs=arrays[PAIRS + "targets"],
        cells=arrays[PAIRS + "cells"],
        log_marginals=arrays[PAIRS + "log_marginals"],
        sizes=arrays[PAIRS + "sizes"],
    )
