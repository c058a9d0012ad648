"""How many parameters a model has, without building it: a steward's machine may lack torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError

__all__ = ["num_parameters"]


def num_parameters(config: Mapping[str, Any], encoding: Encoding) -> int:
    """Returns the number of coordinates of one private gradient of a model.

    Args:
      config: the plan's model settings.
      encoding: the public encoding.

    Raises:
      StudyError: the kind is not trained under privacy, or a setting is out of range.
    """
    cells, classes = encoding.width, encoding.num_classes
    kind = config["kind"]
    sizes = [int(config[key]) for key in ("hidden", "latent", "critic_hidden") if key in config]
    if any(size < 1 for size in sizes):
        raise StudyError("[model] hidden, latent and critic_hidden must be at least 1")
    if kind == "vae":
        hidden, latent = _padded(int(config["hidden"])), int(config["latent"])
        encoder = _linear(cells + classes, hidden) + 2 * hidden + 2 * _linear(hidden, latent)
        return encoder + _linear(latent + classes, hidden) + _linear(hidden, cells)
    if kind == "gan":
        hidden = int(config["critic_hidden"])
        return _linear(cells + classes, hidden) + _linear(hidden, 1)
    raise StudyError(f"model kind = {kind!r} has no training rounds")


def _linear(inputs: int, outputs: int) -> int:
    return (_padded(inputs) + 1) * _padded(outputs)


def _padded(size: int) -> int:
    # As `fedloom.common.models.decoder.padded`, which needs torch.
    return -(-size // 16) * 16
