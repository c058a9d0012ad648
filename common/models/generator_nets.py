"""The networks that add to the images of a GAN, as the coordinator trains them; no site sees one.

`fedloom.common.images.generator_nets` says what each is, and draws the same without torch. Layers
normalise within a record, never across a batch: what is drawn does not depend on what is drawn
beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedloom.common.images.generator_nets import SLOPE, STEADY, GeneratorSizes
from fedloom.common.models.decoder import fresh_linear, joined, padded
from fedloom.common.models.image_networks import DenseNet, Frequencies
from fedloom.common.vocabulary import Generation

__all__ = ["ConvolutionNet", "ModulatedNet", "generator_net", "shades_added"]

# Of the weights that scale, beside those that shift.
_SCALES = 0.5


def generator_net(sizes: GeneratorSizes, rng: torch.Generator, *, last_std: float) -> nn.Module:
    """Returns a network with fresh weights.

    Args:
      sizes: of its layers.
      rng: of the weights.
      last_std: how much it adds at first: standard deviation of the last layer's weights, times
        the root of the numbers that each of its outputs sums.
    """
    if sizes.generator is Generation.MODULATED:
        return ModulatedNet(sizes, rng, last_std=last_std)
    if sizes.generator is Generation.CONVOLUTIONS:
        return ConvolutionNet(sizes, rng, last_std=last_std)
    return DenseNet(
        sizes.inputs,
        sizes.hidden,
        sizes.detail,
        rng,
        last_std=last_std,
        latent=sizes.latent,
        classes=sizes.classes,
    )


def shades_added(net: nn.Module, inputs: Tensor, frequencies: Frequencies) -> Tensor:
    """Returns what a network adds to images, (N, height * width * channels), channels last.

    Args:
      net: as of `generator_net`.
      inputs: (N, n) what it sees, see `fedloom.common.images.corrected.network_inputs`.
      frequencies: that it writes, where it writes frequencies.
    """
    if isinstance(net, ConvolutionNet | ModulatedNet):
        written: Tensor = net(inputs)
    else:
        written = net(joined(inputs))
    return written if isinstance(net, ConvolutionNet) else frequencies.images(written)


class ModulatedNet(nn.Module):
    """Two hidden layers of tanh that latent and class scale and shift."""

    def __init__(self, sizes: GeneratorSizes, rng: torch.Generator, *, last_std: float) -> None:
        """Draws weights; the class weighs as much as the whole latent, for shifts and scales."""
        super().__init__()
        self._detail, hidden = sizes.detail, padded(sizes.hidden)
        content, style = padded(sizes.detail), padded(sizes.style)
        self.inner = fresh_linear(content, hidden, rng, weight_std=sizes.detail**-0.5)
        self.middle = fresh_linear(hidden, hidden, rng, weight_std=hidden**-0.5)
        self.inner_style, self.middle_style = (
            fresh_linear(style, 2 * hidden, rng, weight_std=sizes.style**-0.5) for _ in range(2)
        )
        for layer in (self.inner_style, self.middle_style):
            with torch.no_grad():
                layer.weight[:, sizes.latent : sizes.style].normal_(0.0, 1.0, generator=rng)
                # Scales about 1 that seldom change sign.
                layer.weight[:hidden] *= _SCALES
        std = last_std * hidden**-0.5
        self.outer = fresh_linear(hidden, padded(sizes.detail), rng, weight_std=std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns padded coordinates of (N, n)."""
        hidden, style = joined(inputs[:, : self._detail]), joined(inputs[:, self._detail :])
        for layer, by in ((self.inner, self.inner_style), (self.middle, self.middle_style)):
            plain = layer(hidden)
            even = nn.functional.layer_norm(plain, plain.shape[1:], eps=STEADY)
            scale, shift = by(style).chunk(2, dim=1)
            hidden = torch.tanh(even * (1.0 + scale) + shift)
        out: Tensor = self.outer(hidden)
        return out


class ConvolutionNet(nn.Module):
    """Dense layers that write a coarse grid, which is doubled and convolved."""

    def __init__(self, sizes: GeneratorSizes, rng: torch.Generator, *, last_std: float) -> None:
        """Draws weights."""
        super().__init__()
        self._sizes, channels = sizes, sizes.channels
        (height, width), *finer = sizes.grids
        dense = DenseNet(
            sizes.inputs,
            sizes.hidden,
            height * width * channels[0],
            rng,
            last_std=2.0**0.5,
            latent=sizes.latent,
            classes=sizes.classes,
        )
        self.inner, self.middle, self.grid = dense.inner, dense.middle, dense.outer
        self.finer = nn.ModuleList(
            _convolution(channels[number], channels[number + 1], rng, gain=2.0**0.5)
            for number in range(len(finer))
        )
        self.outer = _convolution(channels[-1], sizes.shape.channels, rng, gain=last_std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns (N, height * width * channels), channels last, of (N, n)."""
        hidden = torch.tanh(self.middle(torch.tanh(self.inner(joined(inputs)))))
        channels, (height, width) = self._sizes.channels[0], self._sizes.grids[0]
        grid = self.grid(hidden)[:, : channels * height * width]
        grid = nn.functional.leaky_relu(grid, SLOPE).unflatten(1, (channels, height, width))
        for layer in self.finer:
            doubled = grid.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            grid = nn.functional.leaky_relu(layer(doubled), SLOPE)
        shape = self._sizes.shape
        written: Tensor = self.outer(grid)[:, :, : shape.height, : shape.width]
        return written.permute(0, 2, 3, 1).flatten(1)


def _convolution(into: int, out: int, rng: torch.Generator, *, gain: float) -> nn.Conv2d:
    layer: nn.Conv2d = nn.utils.skip_init(nn.Conv2d, into, out, 3, padding=1)
    with torch.no_grad():
        layer.weight.normal_(0.0, gain * (9 * into) ** -0.5, generator=rng)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer
