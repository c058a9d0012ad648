"""Convolutions and GroupNorm in closed form, against one backward pass a record and Opacus."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedloom.privacy.clipping import clipped_gradient_sum, convolutions, layers
from fedloom.privacy.clipping.convolutions import CONVOLUTIONS, row_gradients
from fedloom.privacy.clipping.fused import UnsupportedModuleError, fused_sum
from fedloom.privacy.clipping.layers import LayerCall
from fedloom.privacy.clipping.single import Factors
from fedloom.privacy.clipping.units import Part, clip_factors, trainable


def images(units=5, channels=4, height=9, width=8, seed=1, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(units, channels, height, width, generator=rng).to(dtype)}


def stack(*parts):
    torch.manual_seed(3)
    return nn.Sequential(*parts).double()


def total(module, batch):
    return module(batch["x"]).square().flatten(1).sum(1)


def twice(module, batch):
    """Every layer is called on the image and on another, and their gradients may cancel."""
    x = batch["x"]
    return total(module, batch) - 0.5 * module(0.9 * x.flip(3)).tanh().flatten(1).sum(1)


def vector(sums):
    return torch.cat([value.reshape(-1) for _, value in sorted(sums.items())])


def one_by_one(module, loss, batch, clip):
    named = trainable(module)
    summed = {name: torch.zeros_like(p) for name, p in named.items()}
    for i in range(len(batch["x"])):
        alone = {name: value[i : i + 1] for name, value in batch.items()}
        found = torch.autograd.grad(loss(module, alone).sum(), list(named.values()))
        factor = min(1.0, clip / float(torch.sqrt(sum(g.square().sum() for g in found))))
        for name, g in zip(named, found, strict=True):
            summed[name] += factor * g
    return vector(summed).detach()


def fused(module, loss, batch, clip=0.5):
    rows = len(batch["x"])
    return vector(fused_sum(module, trainable(module), loss, Part(batch, rows), clip))


def assert_exact(module, loss, batch, clip=0.5):
    found, expected = fused(module, loss, batch, clip), one_by_one(module, loss, batch, clip)
    assert expected.any()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def of_opacus(module, loss, batch, clip=0.5):
    return vector(clipped_gradient_sum(module, loss, batch, max_grad_norm=clip, engine="opacus"))


PLAIN = [
    {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    for kernel, stride, padding, dilation in (
        (1, 1, 0, 1),
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (4, 2, 1, 1),
        (3, 1, 2, 2),
        ((2, 3), (3, 1), (1, 0), (2, 1)),
        ((5, 2), 1, (4, 1), 1),
    )
]


@pytest.fixture(params=["materialised", "ghost"])
def way(request, monkeypatch):
    ghost = request.param == "ghost"
    monkeypatch.setattr(convolutions, "_ghost_is_smaller", lambda layer, calls: ghost)
    return request.param


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("options", PLAIN)
@pytest.mark.parametrize("loss", [total, twice])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_of_all_settings_are_exact(way, kind, options, groups, loss):
    module = stack(kind(4, 8, groups=groups, **options), nn.Tanh())
    assert_exact(module, loss, images())


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid", (2, 1)])
def test_convolutions_of_all_paddings_are_exact(way, mode, padding):
    module = stack(nn.Conv2d(4, 3, (3, 4), padding=padding, padding_mode=mode, dilation=(1, 2)))
    assert_exact(module, total, images())


@pytest.mark.parametrize("output_padding", [0, 1, 2])
@pytest.mark.parametrize("stride, dilation", [(3, 1), (1, 3), (2, 3)])
def test_transposed_convolutions_of_all_output_paddings_are_exact(
    way, output_padding, stride, dilation
):
    if output_padding >= max(stride, dilation):
        pytest.skip("torch has no such layer")
    layer = nn.ConvTranspose2d(
        4, 3, 3, stride=stride, dilation=dilation, padding=1, output_padding=output_padding
    )
    assert_exact(stack(layer), twice, images())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_convolution_is_exact(data):
    transposed = data.draw(st.booleans())
    groups = data.draw(st.sampled_from([1, 2, 3]))
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    two = st.tuples(st.integers(1, 3), st.integers(1, 3))
    options = {"stride": data.draw(two), "dilation": data.draw(two), "groups": groups}
    options["bias"] = data.draw(st.booleans())
    # Padding below the kernel's reach leaves every output something to see.
    options["padding"] = tuple(data.draw(st.integers(0, size - 1)) for size in kernel)
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(groups * data.draw(st.integers(1, 2)), groups * 2, kernel, **options)
    batch = images(3, layer.in_channels, 11, 10, seed=data.draw(st.integers(0, 99)))
    assert_exact(stack(layer, nn.Tanh()), data.draw(st.sampled_from([total, twice])), batch)


def network():
    """A small critic: convolutions, norms and dense layers together."""
    return stack(
        nn.Conv2d(4, 8, 3, stride=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False),
        nn.GroupNorm(8, 8),
        nn.Tanh(),
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(4 * 10 * 8, 3),
    )


@pytest.mark.parametrize("loss", [total, twice])
@pytest.mark.parametrize("clip", [0.3, 1e4])
def test_a_whole_network_is_exact(way, loss, clip):
    assert_exact(network(), loss, images(), clip)


def test_a_whole_network_agrees_with_opacus(way):
    module = network()
    torch.testing.assert_close(
        fused(module, twice, images()), of_opacus(module, twice, images()), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 5), (4, 6, 5, 3)])
@pytest.mark.parametrize("groups", [1, 3])
def test_group_norms_are_exact(shape, groups):
    rng = torch.Generator().manual_seed(1)
    batch = {"x": torch.randn(shape, generator=rng, dtype=torch.float64)}
    module = stack(nn.GroupNorm(groups, 6), nn.Tanh())
    with torch.no_grad():
        module[0].weight.normal_()
    assert_exact(module, twice_along_any, batch)


def twice_along_any(module, batch):
    return (module(batch["x"]) - 0.3 * module(batch["x"].square())).square().flatten(1).sum(1)


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "1.weight", "1.bias"])
def test_frozen_parameters_have_no_part(frozen):
    module = stack(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.ConvTranspose2d(4, 2, 3))
    module.get_parameter(frozen).requires_grad_(False)
    assert_exact(module, twice, images())


def test_gradients_that_do_not_fit_are_made_twice(monkeypatch):
    module = network()
    expected = fused(module, twice, images(70))
    monkeypatch.setattr(convolutions, "_KEPT", 0)
    monkeypatch.setattr(convolutions, "_AT_ONCE", 2**14)
    torch.testing.assert_close(fused(module, twice, images(70)), expected, rtol=1e-9, atol=1e-11)


def test_persons_are_clipped_as_one():
    module, batch = network(), images(9)
    owners = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3, 3])
    sums = [
        vector(
            clipped_gradient_sum(
                module, twice, batch, max_grad_norm=0.5, engine=engine, persons=owners
            )
        )
        for engine in ("fused", "functional")
    ]
    torch.testing.assert_close(*sums, rtol=1e-9, atol=1e-11)


def test_a_record_without_a_finite_gradient_counts_nothing(way):
    module, batch = network(), images(6)
    batch["x"][2, 0, 0, 0] = float("nan")
    others = {"x": batch["x"][[0, 1, 3, 4, 5]]}
    torch.testing.assert_close(
        fused(module, twice, batch), one_by_one(module, twice, others, 0.5), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize(
    "make, kind",
    [(lambda: nn.BatchNorm2d(4), "BatchNorm2d"), (lambda: nn.BatchNorm1d(4), "BatchNorm1d")],
)
def test_batch_norm_is_refused_and_says_why(make, kind):
    module = nn.Sequential(nn.Conv2d(4, 4, 3), make()).double()
    with pytest.raises(ValueError, match=f"{kind}, which mixes the records"):
        clipped_gradient_sum(module, total, images(), max_grad_norm=1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 2, 3)),
        lambda: nn.Sequential(nn.Unflatten(1, (1, 4)), nn.Conv3d(1, 2, 3)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 2, 3)),
    ],
)
def test_what_has_no_closed_form_goes_to_the_slow_engine(make):
    module = make().double()
    with pytest.raises(UnsupportedModuleError):
        fused(module, total, images())
    found = vector(clipped_gradient_sum(module, total, images(), max_grad_norm=0.5))
    torch.testing.assert_close(
        found, one_by_one(module, total, images(), 0.5), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_ghost_norms_are_chosen_where_they_are_smaller(kind):
    layer = kind(16, 48, 3, padding=1).double()
    for units, side, smaller in (
        (2, 3, True),
        (2, 5, False),
        (20_000, 5, True),
        (20_000, 9, False),
    ):
        x = images(1, 4, side, side)["x"].expand(units, -1, -1, -1)
        call = LayerCall(x, x)
        assert convolutions._ghost_is_smaller(layer, [call]) is smaller


# Broken twins. Each is a mistake that others have made, and the oracle must tell.


def caught(module, loss, batch, clip=0.5):
    found, expected = fused(module, loss, batch, clip), one_by_one(module, loss, batch, clip)
    return bool((found - expected).norm() > 1e-3 * expected.norm())


def test_a_forgotten_bias_in_the_norm_is_caught(monkeypatch, way):
    honest = convolutions.square
    biases = (2, 4, 8)

    def without_bias(rows):
        return honest(rows) * (rows.shape[1] not in biases)

    module, batch = network(), images()
    assert not caught(module, twice, batch)
    monkeypatch.setattr(convolutions, "square", without_bias)
    assert caught(module, twice, batch)


def test_a_norm_over_the_batch_is_caught(monkeypatch, way):
    module, batch = network(), images()
    form = CONVOLUTIONS[nn.Conv2d]
    honest = type(form).measured

    def over_the_batch(self, layer, calls, people):
        measured = honest(self, layer, calls, people)
        mean = measured.squared.mean().expand_as(measured.squared)
        return layers.LayerGradients(mean, measured.spread, measured.sums)

    monkeypatch.setattr(type(form), "measured", over_the_batch)
    assert caught(module, twice, batch)


def test_positions_clipped_apart_are_caught(monkeypatch, way):
    """Norms that take positions for units: they are too large, or too small where signs agree."""
    honest = convolutions._columns

    def first_position(layer, call):
        left, patches = honest(layer, call)
        return left[..., :1], patches[..., :1]

    monkeypatch.setattr(convolutions, "_columns", first_position)
    assert caught(network(), twice, images())


def nearly_cancelling(kind, trial):
    """Positions of one record that cancel but for their last bits, in single precision."""
    rng = torch.Generator().manual_seed(trial)
    patch = torch.randn(1, 16, 1, 1, generator=rng).expand(1, 16, 1, 2).contiguous()
    gradient = torch.randn(1, 16, 1, 1, generator=rng).expand(1, 16, 1, 2).clone()
    gradient[..., 1] *= -1.0
    gradient[0, 0, 0, 1] *= 1.0 + 2.0**-22
    layer = kind(16, 16, 1, bias=False)
    return layer, LayerCall(1e4 * patch, 1e4 * gradient)


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_positions_that_cancel_stay_within_the_clip(kind, way):
    worst = max(influence(kind, trial) for trial in range(100))
    assert worst <= 1.0 + 1e-6


def test_ghost_norms_without_a_margin_let_positions_through(monkeypatch):
    monkeypatch.setattr(convolutions, "_ghost_is_smaller", lambda layer, calls: True)
    monkeypatch.setattr(convolutions, "MARGIN", 0.0)
    assert max(influence(nn.Conv2d, trial, 1e-9) for trial in range(100)) > 1.01


def influence(kind, trial, clip=1e-6):
    layer, call = nearly_cancelling(kind, trial)
    measured = CONVOLUTIONS[kind].measured(layer, [call], None)
    factors, _ = clip_factors(measured.squared, clip)
    ((_, value),) = measured.sums(Factors(factors, factors, None, factors))
    return float(value.norm()) / clip


@pytest.mark.parametrize("rows, side", [(64, 7), (64, 8), (64, 28), (256, 14)])
def test_gradients_of_all_rows_are_computed_alike(rows, side):
    rng = torch.Generator().manual_seed(side)
    for kind, (into, out) in itertools.product(
        (nn.Conv2d, nn.ConvTranspose2d), [(1, 16), (16, 32)]
    ):
        layer = kind(into, out, 4, stride=2, padding=1)
        x = torch.randn(1, into, side, side, generator=rng).expand(rows, -1, -1, -1).contiguous()
        output = layer(x)
        b = torch.randn(output[:1].shape, generator=rng).expand_as(output).contiguous()
        found = torch.cat(list(row_gradients(layer, [LayerCall(x, b)])))
        assert torch.equal(found, found[:1].expand_as(found))
        assert torch.equal(output, output[:1].expand_as(output))
