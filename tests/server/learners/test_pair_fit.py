"""The marginal-matching fit reaches the pairs it is given, the same way for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet
from fedloom.server.learners.devices import fitting, fitting_device
from fedloom.server.learners.pair_fit import PairTables, fit_to_pairs

BLOCKS = Blocks([3, 3], [True] * 6)


def wanted(sizes=(1000.0,)):
    """Two columns that are always equal, in as many classes as there are sizes."""
    pairs = np.zeros((len(sizes), 6, 6), dtype=np.float32)
    for cell, share in enumerate((0.5, 0.3, 0.2)):
        pairs[:, cell, 3 + cell] = pairs[:, 3 + cell, cell] = share
    marginals = np.log(np.tile([0.5, 0.3, 0.2], 2))[None].repeat(len(sizes), axis=0)
    return PairTables(
        pairs=pairs,
        cells=np.arange(6),
        log_marginals=marginals.astype(np.float32),
        sizes=np.array(sizes),
    )


def fitted(tables, steps, seed=0):
    net = DecoderNet(2, len(tables.sizes), 16, 6, torch.Generator().manual_seed(seed))
    table = torch.from_numpy(tables.log_marginals)
    error = fit_to_pairs(net, table, tables, BLOCKS, steps=steps, learning_rate=0.1, seed=seed)
    return net, error


def test_the_fit_reaches_the_pairs():
    """Independent columns are off by 0.14; twin: one step stays there."""
    assert fitted(wanted(), 80)[1] < 0.05
    assert fitted(wanted(), 1)[1] > 0.1


def test_the_same_seed_gives_the_same_network():
    first, second, other = (fitted(wanted(), 5, seed)[0].outer.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_class_without_records_is_left_out():
    """Its column of the network gets no gradient."""
    net, _ = fitted(wanted((1000.0, 0.0)), 5)
    fresh = DecoderNet(2, 2, 16, 6, torch.Generator().manual_seed(0))
    assert torch.equal(net.inner.weight[:, 3], fresh.inner.weight[:, 3])
    assert not torch.equal(net.inner.weight[:, 2], fresh.inner.weight[:, 2])


def test_fitting_leaves_modules_on_the_processor():
    net = torch.nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), fitting(net):
        raise ZeroDivisionError
    assert next(net.parameters()).device.type == "cpu"
    assert fitting_device("cpu").type == "cpu"
