"""The networks that add to images: one in training and one in a release, and what a class is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError
from fedloom.common.images.coordinates import Coordinates
from fedloom.common.images.corrected import BASE, CorrectedImages, corrected_shapes
from fedloom.common.images.generator import generator_shapes
from fedloom.common.images.generator_nets import (
    GeneratorSizes,
    generator_parameters,
    images_added,
    net_shapes,
)
from fedloom.common.images.shape import ImageShape
from fedloom.common.models.generator_nets import generator_net, shades_added
from fedloom.common.models.image_networks import Frequencies
from fedloom.common.models.private_model import read_weights
from fedloom.common.models.registry import read_model
from fedloom.common.vocabulary import Generation
from tests.images.test_networks import coder_of

SHAPES = [(8, 8, 1), (28, 28, 1), (9, 13, 3), (33, 20, 1)]
LATENT, CLASSES = 5, 3
SIZES = ("detail", "directions", "groups", "hidden", "latent")


def sizes_for(generator, shape, detail=50):
    height, width, channels = shape
    return GeneratorSizes(
        generator=Generation(generator),
        shape=ImageShape(height=height, width=width, channels=channels),
        classes=CLASSES,
        detail=detail,
        hidden=24,
        latent=LATENT,
    )


def fresh(sizes, last_std=1.0, seed=0):
    return generator_net(sizes, torch.Generator().manual_seed(seed), last_std=last_std)


def stirred(sizes):
    net, rng = fresh(sizes), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng))
    return net


def inputs_of(sizes, rows, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, sizes.inputs))


def added(net, sizes, inputs):
    frequencies = Frequencies(sizes.shape, sizes.detail)
    with torch.no_grad():
        return shades_added(net, torch.from_numpy(inputs).float(), frequencies)


@pytest.mark.parametrize("generator", Generation)
@pytest.mark.parametrize("shape", SHAPES)
def test_numpy_adds_what_torch_does(generator, shape):
    sizes = sizes_for(generator, shape)
    net, inputs = stirred(sizes), inputs_of(sizes, 130)
    weights = read_weights(net)
    assert {name: value.shape for name, value in weights.items()} == net_shapes(sizes)
    arrays = {f"net.{name}": value.astype(np.float64) for name, value in weights.items()}
    found = images_added(arrays, inputs, sizes, Coordinates(sizes.shape, sizes.detail))
    assert found.shape == (130, *shape) and found.std() > 0.05
    np.testing.assert_allclose(
        found.reshape(130, -1), added(net, sizes, inputs).numpy(), atol=1e-4, rtol=1e-4
    )
    assert not len(images_added(arrays, inputs[:0], sizes, Coordinates(sizes.shape, sizes.detail)))


@pytest.mark.parametrize("generator", Generation)
def test_the_number_of_weights_is_known_without_torch(tmp_path, generator):
    coder = coder_of(tmp_path, 9, 13, 3)
    settings = read_model({"kind": "image-gan", "generator": str(generator)}, where="test")
    sizes = sizes_for(generator, (9, 13, 3), settings.detail)
    sizes = GeneratorSizes(
        generator=sizes.generator,
        shape=sizes.shape,
        classes=coder.encoding.num_classes,
        detail=settings.detail,
        hidden=settings.hidden,
        latent=settings.latent,
    )
    weights = sum(parameter.numel() for parameter in fresh(sizes).parameters())
    assert generator_parameters(settings, coder) == weights


@pytest.mark.parametrize("generator", Generation)
def test_what_is_added_to_an_image_does_not_depend_on_others(generator):
    sizes = sizes_for(generator, (9, 13, 3))
    net, inputs = stirred(sizes), inputs_of(sizes, 8)
    torch.testing.assert_close(
        added(net, sizes, inputs)[2:3], added(net, sizes, inputs[2:3]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("generator", Generation)
def test_a_generator_that_begins_as_the_base_adds_nothing(generator):
    sizes = sizes_for(generator, (9, 13, 3))
    assert not added(fresh(sizes, last_std=0.0), sizes, inputs_of(sizes, 4)).any()


@pytest.mark.parametrize("generator", Generation)
def test_a_fresh_network_shows_the_class_as_much_as_the_latent(generator):
    """From a look alone images of a class are alike, so what differs is latent and class."""
    sizes = sizes_for(generator, (28, 28, 1))
    rows = 64
    latents = np.random.default_rng(0).standard_normal((rows, LATENT))
    seen = np.full((CLASSES, rows, sizes.inputs), 0.3)
    seen[:, :, sizes.detail : sizes.detail + LATENT] = latents
    seen[:, :, -CLASSES:] = np.eye(CLASSES)[:, None]
    ratios = []
    for seed in range(5):
        net = fresh(sizes, seed=seed)
        written = added(net, sizes, seen.reshape(CLASSES * rows, -1)).reshape(CLASSES, rows, -1)
        ratios.append(float(written.mean(1).var(0).sum() / written.mean(0).var(0).sum()))
    assert 0.4 < np.median(ratios) < 5.0


def test_latent_and_class_scale_what_a_modulated_network_reads_of_an_image():
    """The twin: of a plain first layer, what images differ by is the same for all latents."""
    spread = {}
    for generator in ("plain", "modulated"):
        sizes = sizes_for(generator, (8, 8, 1))
        net, inputs = fresh(sizes), inputs_of(sizes, 2)
        seen = []

        def heard(layer, given, seen=seen):
            seen.append(given[0])

        net.middle.register_forward_pre_hook(heard)
        apart = []
        for seed in range(2):
            inputs[:, sizes.detail :] = inputs_of(sizes, 1, seed)[0, sizes.detail :]
            seen.clear()
            added(net, sizes, inputs)
            before = torch.atanh(seen[0].double().clamp(-1 + 1e-9, 1 - 1e-9))
            apart.append(before[0] - before[1])
        spread[generator] = float((apart[0] - apart[1]).norm() / apart[0].norm())
    assert spread["plain"] < 1e-2 and spread["modulated"] > 0.1


@pytest.mark.parametrize("generator", Generation)
def test_a_release_has_the_arrays_that_its_settings_ask_for(tmp_path, generator):
    coder = coder_of(tmp_path, 9, 13, 3)
    classes, shape = coder.encoding.num_classes, coder.shape
    config = {
        "detail": 50,
        "directions": 1,
        "generator": str(generator),
        "groups": 1,
        "hidden": 24,
        "latent": LATENT,
    }
    shapes = corrected_shapes(config, coder)
    rng = np.random.default_rng(0)
    arrays = {name: 0.1 * rng.standard_normal(size) for name, size in shapes.items()}
    base = generator_shapes(shape, classes, coordinates=400, directions=1, groups=1)
    for name in base:
        arrays[BASE + name] = np.ones(base[name]) if name == "weights" else np.zeros(base[name])
    levels = np.linspace(0.0, 1.0, 257)
    for name in ("tone_places", "tone_values"):
        arrays[name] = arrays[BASE + name] = np.broadcast_to(levels, shapes[name]).copy()
    arrays["class_prior"] = np.ones(classes)
    artifact = Artifact(kind="image-gan", config=config, arrays=arrays)
    images = CorrectedImages(artifact, shape)
    drawn = images.draw(np.arange(classes), np.random.default_rng(1))
    assert drawn.shape == (classes, 9, 13, 3) and drawn.std() > 5
    np.testing.assert_array_equal(
        drawn, CorrectedImages(artifact, shape).draw(np.arange(classes), np.random.default_rng(1))
    )


@pytest.mark.parametrize(
    "name", ["detail", "directions", "generator", "groups", "hidden", "latent"]
)
@pytest.mark.parametrize("value", [None, "many", -1, 1.5, True])
def test_settings_of_no_such_generator_are_refused(tmp_path, name, value):
    config = {**dict.fromkeys(SIZES, 4), "generator": "plain"}
    coder = coder_of(tmp_path, 9, 13, 3)
    assert corrected_shapes(config, coder)
    with pytest.raises(ConfigError):
        corrected_shapes({**config, name: value}, coder)
    del config[name]
    with pytest.raises(ConfigError):
        corrected_shapes(config, coder)
