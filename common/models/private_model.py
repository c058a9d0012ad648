"""What a model must offer so that a site can train it without knowing what it is.

A model is a module whose gradients see records, and a per-record loss. A site rebuilds it from
the arrays of a request: those named `public/...` are constants of the round (such as a GAN's
generator), all others are the weights of the private module, by parameter name.

Seam of privacy: the loss has shape (B,) and the loss of a record depends on that record, on
public arrays and on random numbers drawn for that record alone, independently of all others. The
random numbers come in the batch, so the loss itself is deterministic. Modules hold no buffers and
no BatchNorm, and are made of Linear and LayerNorm on (B, d) activations, which the fused clipping
engine covers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import StudyError
from fedloom.common.models.registry import ModelSettings, model_kind
from fedloom.common.parts import load_part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fedloom.common.models.draws import Draws
    from fedloom.common.records import Coder

__all__ = [
    "PUBLIC",
    "Arrays",
    "PrivateModel",
    "build_model",
    "count_parameters",
    "load_weights",
    "read_weights",
]

PUBLIC = "public/"

Arrays = dict[str, NDArray[np.float32]]


class PrivateModel(Protocol):
    """A model as sites see it; B is the number of records of a batch, which may be 0."""

    @property
    def public_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every public array, by its name."""

    def private_module(self, seed: int = 0) -> nn.Module:
        """Returns the module that is trained under privacy, with initial weights."""

    def request_shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every array of a request: weights and public arrays."""

    def restore(self, arrays: Mapping[str, NDArray[np.float32]]) -> tuple[nn.Module, Arrays]:
        """Returns the private module with the weights of a request, and its public arrays."""

    def make_batch(
        self,
        features: NDArray[Any],
        classes: NDArray[np.int64],
        public: Mapping[str, NDArray[np.float32]],
        draws: Draws,
    ) -> dict[str, Tensor]:
        """Turns coded records (B, ...) of classes (B,) into tensors of first dimension B."""

    def loss(self, module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Returns one number per record, (B,), that depends on no other record."""


def build_model(settings: ModelSettings, coder: Coder) -> PrivateModel:
    """Returns the private model of a plan, as its kind's entry names it; needs torch.

    Raises:
      StudyError: the kind is not trained, or a setting is out of range.
    """
    module = model_kind(settings.kind).module
    if module is None:
        raise StudyError(f'[model] kind = "{settings.kind}" is not trained under privacy')
    model: PrivateModel = load_part(module)(settings, coder)
    return model


def count_parameters(model: PrivateModel) -> int:
    """Returns the number of coordinates that one noised gradient of the model has."""
    shapes = model.request_shapes()
    return sum(int(np.prod(shapes[name])) for name in shapes if not name.startswith(PUBLIC))


def read_weights(module: nn.Module) -> Arrays:
    """Returns the parameters of a module by name, as float32."""
    return {
        name: value.detach().cpu().numpy().astype(np.float32)
        for name, value in module.named_parameters()
    }


def load_weights(module: nn.Module, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Writes arrays into the parameters of a module by name; others are ignored.

    Raises:
      ValueError: an array is missing or has another shape than its parameter.
    """
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            array = arrays.get(name)
            if array is None or array.shape != tuple(parameter.shape):
                found = "none" if array is None else f"shape {array.shape}"
                raise ValueError(f"{name}: expected shape {tuple(parameter.shape)}, got {found}")
            parameter.copy_(torch.from_numpy(np.array(array, dtype=np.float32)))
