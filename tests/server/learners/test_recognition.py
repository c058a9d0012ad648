"""An encoder learns from its decoder's own records, and the decoder does not move."""

from __future__ import annotations

import torch

from fedloom.common.models.private_model import read_weights
from fedloom.common.models.registry import VaeSettings
from fedloom.common.models.vae import TabularVae
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.recognition import teach_encoder


def test_the_loss_falls_and_the_decoder_stays(toy):
    model = TabularVae(VaeSettings(hidden=16, latent=4), toy.encoding)
    module = model.private_module(3)
    with torch.no_grad():
        module.decoder.outer.weight.normal_(0.0, 1.0, generator=torch.Generator().manual_seed(1))
    before = read_weights(module)
    statistics = toy.statistics()
    table = torch.from_numpy(log_marginals(statistics)).float()
    prior = class_prior(statistics)
    losses = [teach_encoder(model, module, table, prior, seed=1, steps=n) for n in (1, 80)]
    assert losses[1] < losses[0] - 0.1
    for name, value in read_weights(module).items():
        assert (value == before[name]).all() == name.startswith("decoder."), name
