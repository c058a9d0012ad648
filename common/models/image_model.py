"""What the models of images share: a private module that sees images about a public centre.

Images differ from their common mean by far less than from grey. A layer's gradient is the product
of what it sees and of what it is told, so without a centre the gradients of all records point the
same way, along the mean, and most of each clip is spent on what nobody needs to learn.
The centre is a public array of a request: the coordinator makes it from the noisy look.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.models.decoder import class_rows
from fedloom.common.models.draws import Draws
from fedloom.common.models.image_settings import ImageNetSettings
from fedloom.common.models.image_views import views_of
from fedloom.common.models.private_model import PUBLIC, Arrays, load_weights

__all__ = ["CENTRE", "ImageModel", "pictures"]

CENTRE = PUBLIC + "centre"
"""What networks see images about, (channels, height, width) in [0, 1]."""

Module_co = TypeVar("Module_co", bound=nn.Module, covariant=True)


class ImageModel(ABC, Generic[Module_co]):
    """A model of images; see `fedloom.common.models.private_model.PrivateModel`."""

    def __init__(self, settings: ImageNetSettings, coder: ImageCoder) -> None:
        """Takes the plan's model."""
        self._net, self._coder = settings, coder
        self.num_classes = coder.encoding.num_classes
        shape = coder.shape
        self.public_shapes: dict[str, tuple[int, ...]] = {
            CENTRE: (shape.channels, shape.height, shape.width)
        }

    @abstractmethod
    def private_module(self, seed: int = 0) -> Module_co:
        """Returns the module that is trained under privacy, with initial weights."""

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the private module's weights."""
        return {name: tuple(p.shape) for name, p in self.private_module().named_parameters()}

    def request_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of all weights and of the public arrays."""
        return {**self.weight_shapes(), **self.public_shapes}

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[Module_co, Arrays]:
        """Returns the module with a request's weights, and the public arrays."""
        module = self.private_module()
        load_weights(module, arrays)
        return module, {name: np.asarray(arrays[name]) for name in self.public_shapes}

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Returns the views of each image, its class, and the centre once for each row."""
        centre = torch.from_numpy(np.array(public[CENTRE], dtype=np.float32))
        views = views_of(pictures(features[PIXELS]), self._net, draws)
        return {
            "classes": class_rows(classes, self.num_classes),
            "centre": centre.expand(len(classes), *centre.shape),
            **{f"view{number}": view for number, view in enumerate(views)},
        }

    @abstractmethod
    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns one number per record, (B,), that depends on no other record."""


def pictures(pixels: NDArray[np.uint8]) -> Tensor:
    """Returns (B, channels, height, width) in [0, 1] of (B, height, width, channels) bytes."""
    moved = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    return torch.from_numpy(moved).float() / 255.0
