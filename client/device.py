"""Where a site computes."""

from __future__ import annotations

__all__ = ["torch_device"]


def torch_device(name: str) -> str:
    """Returns the torch device that `name` stands for.

    Args:
      name: "cpu", "cuda", "cuda:1", or "auto", which takes a GPU where there is one.
    """
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
