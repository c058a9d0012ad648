"""A module whose weights the coordinator's Adam moves, kept as arrays between rounds."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from numpy.typing import NDArray
from torch import Tensor, nn

from fedloom.common.models.private_model import load_weights
from fedloom.server.learners.learner import section, with_prefix
from fedloom.server.learners.optimisers import adam

__all__ = ["Trainee"]

Arrays = dict[str, NDArray[Any]]
Module_co = TypeVar("Module_co", bound=nn.Module, covariant=True)


class Trainee(Generic[Module_co]):
    """A module, its weights, and what Adam remembers of its gradients."""

    def __init__(self, module: Module_co, arrays: Arrays, name: str) -> None:
        """Takes weights and moments of this name from a state's arrays; moments may be missing."""
        self.module, self._name = module, name
        self.weights = section(arrays, f"{name}/")
        self._moments = section(arrays, f"{name} moments/")

    def loaded(self) -> list[Tensor]:
        """Puts the weights into the module; returns its parameters."""
        load_weights(self.module, self.weights)
        return list(self.module.parameters())

    def step(
        self, gradients: tuple[Tensor, ...], *, learning_rate: float, step: int, momentum: float
    ) -> None:
        """Moves the weights; see `fedloom.server.learners.optimisers.adam`."""
        names = [name for name, _ in self.module.named_parameters()]
        told = {name: value.numpy() for name, value in zip(names, gradients, strict=True)}
        self.weights, self._moments = adam(
            self.weights,
            told,
            self._moments,
            learning_rate=learning_rate,
            step=step,
            momentum=momentum,
        )

    def kept(self) -> Arrays:
        """Returns weights and moments as arrays of a state."""
        weights = with_prefix(self.weights, f"{self._name}/")
        return weights | with_prefix(self._moments, f"{self._name} moments/")
