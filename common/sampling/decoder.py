"""The published part of `vae` and `gan`, in double precision and without torch.

`fedloom.common.models.decoder` is the same network in single precision, which is what training
needs. Here it is read from its published arrays and evaluated in double precision: matrix products
and exponentials of two machines then differ by about 1e-15, so that a draw of a cell comes out
otherwise about once in 10^14 draws, and a release's rows can be drawn again anywhere and compared
one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError

__all__ = ["LatentDecoder", "decoder_shapes"]

Array = npt.NDArray[Any]

_CHUNK_CELLS = 4_000_000
_WIDTH_QUANTUM = 16
_NET = ("inner.weight", "inner.bias", "outer.weight", "outer.bias")


class LatentDecoder:
    """From latents and classes to the probabilities of a record's cells.

    Attributes:
      latent: numbers in a latent.
    """

    def __init__(self, artifact: Artifact, encoding: Encoding) -> None:
        """Reads the network of a `vae` or `gan`.

        Raises:
          ConfigError: the artifact was made for another schema, or is no such generator.
        """
        arrays, num_classes, width = artifact.arrays, encoding.num_classes, encoding.width
        for name, shape in decoder_shapes(artifact.config, encoding).items():
            if name not in arrays or arrays[name].shape != shape:
                raise ConfigError(
                    f"the generator's {name} does not fit the schema; use the schema that it was "
                    "made with"
                )
        self.latent = int(artifact.config["latent"])
        self._encoding = encoding
        inner, inner_bias, outer, outer_bias = (
            np.asarray(arrays[f"net.{name}"], dtype=np.float64) for name in _NET
        )
        # Beyond these the layers are padding, which is multiplied by zero.
        self._inner = inner[:, : self.latent + num_classes].T
        self._inner_bias = inner_bias
        self._outer = np.ascontiguousarray(outer[:width].T)
        allowed = [cell for block in encoding.features for cell in block.sampleable]
        base = np.asarray(arrays["table"], dtype=np.float64) + outer_bias[:width]
        self._base = np.where(np.array(allowed), base, -np.inf)

    def cells(
        self, classes: Array, rng: np.random.Generator
    ) -> Iterator[tuple[Array, npt.NDArray[np.float64]]]:
        """Draws a latent for each class, and yields what may come of it, in chunks.

        Args:
          classes: (N,) class of each record.
          rng: source of the latents.

        Yields:
          Classes (B,), and probabilities (B, D) of the cells given class and latent; each block
          sums to 1.
        """
        chunk = max(1, _CHUNK_CELLS // self._encoding.width)
        for start in range(0, len(classes), chunk):
            labels = np.asarray(classes[start : start + chunk])
            latents = rng.standard_normal((len(labels), self.latent))
            hidden = latents @ self._inner[: self.latent]
            hidden += self._inner[self.latent + labels] + self._inner_bias
            cells = np.tanh(hidden, out=hidden) @ self._outer
            cells += self._base[labels]
            for block in self._encoding.features:
                part = cells[:, block.start : block.start + block.size]
                part -= part.max(axis=1, keepdims=True)
                np.exp(part, out=part)
                part /= part.sum(axis=1, keepdims=True)
            yield labels, cells


def decoder_shapes(config: Mapping[str, Any], encoding: Encoding) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array that a `vae` or `gan` is published with.

    Args:
      config: of the artifact.
      encoding: of the schema.

    Raises:
      ConfigError: the artifact's settings are none of such a generator.
    """
    num_classes, width = encoding.num_classes, encoding.width
    sizes = [config.get("latent"), config.get("hidden")]
    if any(type(size) is not int or size < 1 for size in sizes):
        raise ConfigError("the generator's settings lack the width of its layers")
    inputs, hidden, outputs = (
        -(-size // _WIDTH_QUANTUM) * _WIDTH_QUANTUM
        for size in (int(config["latent"]) + num_classes, int(config["hidden"]), width)
    )
    return {
        "class_prior": (num_classes,),
        "table": (num_classes, width),
        "net.inner.weight": (hidden, inputs),
        "net.inner.bias": (hidden,),
        "net.outer.weight": (outputs, hidden),
        "net.outer.bias": (outputs,),
    }
