"""The published part of `vae` and `gan`: from latent noise and a class to a record's cells.

Logits of a class are a table, made at the server from the noisy one-way marginals of that
class, plus a small network of the latent noise. Where the network is zero, records are drawn
from the product of those marginals; the network adds what columns have to do with each other.
So no category can be lost on the way, and training starts from a useful generator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.models.blocks import Blocks
from fedloom.common.models.draws import Draws
from fedloom.common.models.private_model import load_weights

__all__ = [
    "DecoderNet",
    "class_rows",
    "draw_logits",
    "fresh_linear",
    "joined",
    "padded",
    "sample_codes",
]

_CHUNK_CELLS = 4_000_000
_WIDTH_QUANTUM = 16


def fresh_linear(
    inputs: int, outputs: int, rng: torch.Generator, *, weight_std: float, bias_std: float = 0.0
) -> nn.Linear:
    """Returns a Linear with normal weights from a generator; torch's global one is not touched."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        layer.weight.normal_(0.0, weight_std, generator=rng)
        layer.bias.normal_(0.0, bias_std, generator=rng)
    return layer


def class_rows(classes: NDArray[np.int64], num_classes: int) -> Tensor:
    """Returns (B, C) one-hot rows of classes (B,)."""
    labels = torch.from_numpy(np.asarray(classes, dtype=np.int64))
    return nn.functional.one_hot(labels, num_classes).float()


def padded(size: int) -> int:
    """Rounds a layer's width up to a multiple of 16.

    Matrix kernels round some rows of a batch differently from others at small odd widths. With
    hostile weights such a last bit becomes another clipped gradient, and a record's contribution
    would depend on its place among the others. At multiples of 16 all rows are treated alike; a
    vault checks it on its own machine before it answers
    (`fedloom.privacy.clipping.row_invariance`).

    >>> padded(16), padded(17)
    (16, 32)
    """
    return -(-size // _WIDTH_QUANTUM) * _WIDTH_QUANTUM


def joined(*parts: Tensor) -> Tensor:
    """Puts (B, a), (B, b), ... side by side, and zeros up to a padded width."""
    rows = torch.cat(parts, dim=1)
    width = int(rows.shape[1])
    return nn.functional.pad(rows, (0, padded(width) - width))


class DecoderNet(nn.Module):
    """The network part of the logits: (B, latent), (B, C) -> (B, D).

    Layers are padded: what is beyond a width is zero or not looked at, and has no gradient.
    """

    def __init__(
        self, latent: int, num_classes: int, hidden: int, width: int, rng: torch.Generator
    ) -> None:
        """Draws initial weights that make the logits nearly zero."""
        super().__init__()
        self.latent = latent
        self.width = width
        hidden = padded(hidden)
        self.inner = fresh_linear(
            padded(latent + num_classes), hidden, rng, weight_std=(latent + 1) ** -0.5
        )
        self.outer = fresh_linear(hidden, padded(width), rng, weight_std=0.01 * hidden**-0.5)

    def forward(self, latent: Tensor, classes: Tensor) -> Tensor:
        """Returns what is added to the table's logits."""
        hidden = torch.tanh(self.inner(joined(latent, classes)))
        logits: Tensor = self.outer(hidden)[:, : self.width]
        return logits


def sample_codes(
    arrays: Mapping[str, NDArray[Any]],
    config: Mapping[str, Any],
    blocks: Blocks,
    classes: NDArray[np.int64],
    draws: Draws,
) -> NDArray[np.int32]:
    """Draws one record for each given class from a published generator.

    Args:
      arrays: `table` (C, D) and the network's weights as `net.inner.weight`, ....
      config: `hidden` and `latent` of the network.
      blocks: layout of the features.
      classes: (N,) the class of each record.
      draws: of latents and cells.

    Returns:
      (N, m) feature codes.
    """
    parts = [np.zeros((0, len(blocks.sizes)), dtype=np.int32)]
    for logits in draw_logits(arrays, config, blocks, classes, draws):
        parts.append(blocks.sample(logits, draws).numpy().astype(np.int32))
    return np.concatenate(parts)


def draw_logits(
    arrays: Mapping[str, NDArray[Any]],
    config: Mapping[str, Any],
    blocks: Blocks,
    classes: NDArray[np.int64],
    draws: Draws,
) -> Iterator[Tensor]:
    """Draws a latent for each given class and yields the logits of its cells, in chunks (B, D).

    Arguments are those of `sample_codes`, which draws cells from these logits.
    """
    table = torch.from_numpy(np.asarray(arrays["table"], dtype=np.float32))
    # Its initial weights are overwritten at once: latents alone come from the caller's generator.
    start = torch.Generator()
    net = DecoderNet(int(config["latent"]), len(table), int(config["hidden"]), blocks.width, start)
    prefix = "net."
    load_weights(
        net, {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
    )
    chunk = max(1, _CHUNK_CELLS // blocks.width)
    for first in range(0, len(classes), chunk):
        labels = np.asarray(classes[first : first + chunk], dtype=np.int64)
        latent = draws.normal(len(labels), net.latent)
        with torch.no_grad():
            logits = table[labels] + net(latent, class_rows(labels, len(table)))
        yield logits
