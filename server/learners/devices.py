"""Where the coordinator fits: on a GPU if there is one, else with the threads torch was given.

Steps at the sites run on one thread, so that a record's contribution does not depend on its place
in a batch; fitting at the coordinator is post-processing and may use whatever there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["fitting", "fitting_device"]


def fitting_device(device: str = "auto") -> torch.device:
    """Returns the device to fit on: "auto" is the first GPU, or the processor without one.

    >>> fitting_device("cpu").type
    'cpu'
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@contextmanager
def fitting(*modules: nn.Module, device: str = "auto") -> Iterator[torch.device]:
    """Moves modules to the device for as long as they are fitted, and back in the end."""
    place = fitting_device(device)
    for module in modules:
        module.to(place)
    try:
        yield place
    finally:
        for module in modules:
            module.to("cpu")
