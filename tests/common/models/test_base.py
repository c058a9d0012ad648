"""What every private model promises to sites: shapes, empty batches, one loss per record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.errors import StudyError
from fedloom.common.models import build_model
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.private_model import count_parameters, load_weights, read_weights
from fedloom.common.models.registry import num_parameters, read_model
from fedloom.privacy.clipping import clipped_gradient_sum


def batch_of(model, coded, public, rows, seed=0):
    codes, classes = coded
    made = model.make_batch(codes[rows], classes[rows], public, SeededDraws(seed))
    return {name: value.double() for name, value in made.items()}


def test_unknown_kind_is_refused(encoding):
    with pytest.raises(StudyError, match="diffusion"):
        read_model({"kind": "diffusion"}, where="test")
    with pytest.raises(StudyError, match="not trained"):
        build_model(read_model({"kind": "mixture"}, where="test"), encoding)


def test_request_shapes_are_those_of_weights_and_public_arrays(model, public):
    weights = read_weights(model.private_module(1))
    arrays = {**weights, **public}
    assert {name: value.shape for name, value in arrays.items()} == model.request_shapes()
    module, kept = model.restore(arrays)
    assert set(kept) == set(public)
    for name, value in read_weights(module).items():
        np.testing.assert_array_equal(value, weights[name])


def test_number_of_parameters_needs_no_torch(model, encoding):
    kind = "vae" if "Vae" in type(model).__name__ else "gan"
    critic = {"critic_hidden": 6} if kind == "gan" else {}
    settings = read_model({"kind": kind, "hidden": 6, "latent": 3, **critic}, where="test")
    assert num_parameters(settings, encoding) == count_parameters(model)


def test_weights_of_another_shape_are_refused(model):
    module = model.private_module()
    weights = read_weights(module)
    name = next(iter(weights))
    with pytest.raises(ValueError, match="shape"):
        load_weights(module, {**weights, name: weights[name][:1]})


def test_first_weights_depend_on_the_seed_alone(model):
    torch.manual_seed(1)
    first = read_weights(model.private_module(7))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = read_weights(model.private_module(7))
    assert torch.equal(before, torch.get_rng_state())
    assert all(np.array_equal(first[name], second[name]) for name in first)
    other = read_weights(model.private_module(8))
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("records", [0, 1, 5])
def test_loss_is_one_number_per_record(model, coded, public, perturbed, records):
    batch = batch_of(model, coded, public, slice(0, records))
    assert {value.shape[0] for value in batch.values()} == {records}
    losses = model.loss(perturbed, batch)
    assert losses.shape == (records,)
    assert bool(torch.isfinite(losses).all())


def test_loss_of_a_record_depends_on_no_other(model, coded, public, perturbed):
    batch = batch_of(model, coded, public, slice(0, 8))
    together = model.loss(perturbed, batch)
    for row in range(8):
        alone = model.loss(perturbed, {name: value[row : row + 1] for name, value in batch.items()})
        assert alone.item() == pytest.approx(together[row].item(), rel=1e-12)


def test_batches_are_deterministic_given_their_generator(model, coded, public):
    first, second = (batch_of(model, coded, public, slice(0, 9), seed=3) for _ in range(2))
    other = batch_of(model, coded, public, slice(0, 9), seed=4)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_modules_hold_no_buffers_and_no_batchnorm(model):
    module = model.private_module()
    assert not list(module.buffers())
    allowed = (torch.nn.Linear, torch.nn.LayerNorm)
    leaves = [part for part in module.modules() if not list(part.children())]
    assert all(isinstance(part, allowed) for part in leaves)


@pytest.mark.parametrize("records", [0, 7])
def test_engines_agree_on_the_clipped_sum(model, coded, public, perturbed, records):
    batch = batch_of(model, coded, public, slice(0, records))
    sums = {
        engine: clipped_gradient_sum(perturbed, model.loss, batch, max_grad_norm=0.7, engine=engine)
        for engine in ("fused", "opacus")
    }
    for name, expected in sums["opacus"].items():
        torch.testing.assert_close(sums["fused"][name], expected, rtol=1e-6, atol=1e-12)
    if records:
        assert max(value.abs().max().item() for value in sums["fused"].values()) > 0
