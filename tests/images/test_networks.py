"""The networks of images: sizes, clips of views, rows that are alike, NumPy's copy of a decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.artifact import Artifact
from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.images.written import WrittenImages, unflowed, written_shapes
from fedloom.common.models import build_model
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.latent_prior import prior_arrays
from fedloom.common.models.private_model import count_parameters, read_weights
from fedloom.common.models.registry import num_parameters, read_model
from fedloom.common.schema import Schema
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.fused import fused_sum
from fedloom.privacy.clipping.row_invariance import rows_are_invariant
from fedloom.privacy.clipping.units import Part, trainable

KINDS = ("image-vae", "image-gan")
READINGS = ("frequencies", "convolutions")
SHAPES = [(8, 8, 1), (28, 28, 1), (9, 13, 3), (64, 64, 3)]


def coder_of(tmp_path, height, width, channels):
    (tmp_path / "schema.toml").write_text(
        f"[image]\nheight = {height}\nwidth = {width}\nchannels = {channels}\n"
        '[[column]]\nname = "digit"\nkind = "category"\nvalues = ["0", "1", "2"]\n'
    )
    return ImageCoder(Schema.load(tmp_path / "schema.toml"), "digit")


def made(tmp_path, kind, shape, **settings):
    """A model of images; a critic learns to read (`test_matching` has the other)."""
    coder = coder_of(tmp_path, *shape)
    if kind == "image-gan":
        settings.setdefault("loss", "hinge")
    read = read_model({"kind": kind, **settings}, where="test")
    return build_model(read, coder), coder, read


def records(coder, count, seed=0):
    rng = np.random.default_rng(seed)
    features = np.zeros(count, dtype=coder.record_type)
    features[PIXELS] = rng.integers(0, 256, features[PIXELS].shape)
    return features, rng.integers(0, 3, count)


def batch_of(model, coder, count, seed=0):
    public = {name: np.ones(size, np.float32) for name, size in model.public_shapes.items()}
    public[CENTRE] *= 0.25
    return model.make_batch(*records(coder, count, seed), public, SeededDraws(seed))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_number_of_weights_is_known_without_torch(tmp_path, kind, reading, shape):
    model, coder, settings = made(
        tmp_path, kind, shape, reading=reading, hidden=40, latent=5, detail=100
    )
    assert num_parameters(settings, coder) == count_parameters(model)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES[:3])
def test_all_rows_are_computed_alike(tmp_path, kind, reading, shape):
    model, coder, _ = made(
        tmp_path,
        kind,
        shape,
        reading=reading,
        hidden=32,
        latent=5,
        views=2,
        shift=1,
        rotation=10.0,
        noise=0.1,
    )
    assert rows_are_invariant(model, coder=coder, max_physical_batch=64)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_closed_forms_cover_the_networks_and_agree_with_opacus(tmp_path, kind, reading):
    model, coder, _ = made(tmp_path, kind, (9, 13, 3), reading=reading, hidden=16, latent=3)
    module = stirred(model).double()
    batch = {name: value.double() for name, value in batch_of(model, coder, 6).items()}
    fused = fused_sum(module, trainable(module), model.loss, Part(batch, 6), 0.5)
    expected = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=0.5, engine="opacus")
    for name, value in expected.items():
        torch.testing.assert_close(fused[name], value, rtol=1e-8, atol=1e-10)


def stirred(model, seed=1):
    """A module whose every weight counts: a critic starts with some that do not."""
    module, rng = model.private_module(seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_views_of_a_record_share_one_clip(tmp_path, kind):
    model, coder, _ = made(
        tmp_path, kind, (8, 8, 1), hidden=16, latent=3, views=5, shift=2, rotation=20.0, noise=0.1
    )
    module = stirred(model)
    for seed in range(10):
        assert influence(model, module, batch_of(model, coder, 1, seed)) <= 1.0 + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_views_that_are_clipped_one_by_one_are_caught(tmp_path, kind):
    """The twin: every view a row of its own, each with a clip of its own."""
    model, coder, _ = made(
        tmp_path, kind, (8, 8, 1), hidden=16, latent=3, views=5, shift=2, rotation=20.0, noise=0.1
    )
    batch, module = batch_of(model, coder, 1), stirred(model)
    single, _, _ = made(tmp_path, kind, (8, 8, 1), hidden=16, latent=3)
    apart = {
        "classes": batch["classes"].expand(5, -1),
        "centre": batch["centre"].expand(5, -1, -1, -1),
    }
    for name in ("view", "noise"):
        if name + "0" in batch:
            apart[name + "0"] = torch.cat([batch[f"{name}{number}"] for number in range(5)])
    assert influence(single, module, apart) > 1.2


def influence(model, module, batch, clip=1e-2):
    sums = clipped_gradient_sum(module, model.loss, batch, max_grad_norm=clip, dtype=torch.float64)
    return float(torch.cat([value.reshape(-1) for value in sums.values()]).norm()) / clip


@pytest.mark.parametrize("shape", SHAPES[:3])
@pytest.mark.parametrize("depth", [2, 4])
def test_numpy_writes_the_images_that_torch_does(tmp_path, shape, depth):
    model, coder, settings = made(
        tmp_path, "image-vae", shape, hidden=24, latent=5, detail=50, depth=depth, flow=depth - 1
    )
    module = stirred(model)
    net = {f"net.{name}": value for name, value in read_weights(module.decoder).items()}
    net |= {f"flow.{name}": value for name, value in read_weights(module.flow).items()}
    config = {"depth": depth, "flow": depth - 1, "hidden": 24, "latent": 5, "detail": 50}
    arrays = {**net, **prior_arrays(read_weights(module.prior), 5, coder.encoding.num_classes)}
    written = WrittenImages(Artifact(kind="image-vae", config=config, arrays=arrays), coder.shape)
    classes = np.array([0, 1, 2, 1])
    found = written.untoned(classes, np.random.default_rng(3))
    draws = torch.from_numpy(np.random.default_rng(3).standard_normal((4, 5))).float()
    rows = torch.eye(coder.encoding.num_classes)[classes]
    unmoved = unflowed(arrays, draws.double().numpy(), rows.double().numpy())
    whitened = torch.from_numpy(unmoved).float()
    torch.testing.assert_close(module.flow(whitened, rows)[0], draws, rtol=1e-4, atol=1e-5)
    matrix, offset, _ = module.prior.whitening(rows)
    latent = torch.linalg.solve_triangular(matrix, (offset + whitened)[:, :, None], upper=False)[
        ..., 0
    ]
    logits = 4.0 * model.frequencies.images(module.coordinates(latent, rows))
    expected = torch.sigmoid(logits).detach().numpy().reshape(found.shape)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert {name: value.shape for name, value in arrays.items()}.items() <= written_shapes(
        config, coder
    ).items()
    assert settings.latent == 5
