"""What a site can answer, each answer beside its guarantee and its price.

Every mechanism takes private records and public parameters, and returns what may leave. Beside
it stands `event(...)`, the `DpEvent` that the ledger is charged with for one call. Nothing else
of a call may leave a site: no batch size, loss, norm, clip fraction or time.

  statistic   `noisy_sum`         one sum over all records (needs no torch)
  gradient    `noisy_gradient`    one sum of clipped gradients over a Poisson-sampled batch
  training    `private_training`  weights after local steps of DP-SGD
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedloom.privacy.mechanisms.gradient import noisy_gradient
    from fedloom.privacy.mechanisms.statistic import noisy_sum
    from fedloom.privacy.mechanisms.training import private_training

__all__ = ["noisy_gradient", "noisy_sum", "private_training"]

_HOMES = {"noisy_gradient": "gradient", "noisy_sum": "statistic", "private_training": "training"}


def __getattr__(name: str) -> Any:
    # Looked up late, so that a site that only answers sums runs without torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
