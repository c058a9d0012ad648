"""Where a site computes.

Several sites, or several programs, may share a machine's GPUs: `auto` takes the one with the most
free memory when the vault opens, before any record is read, so that the choice tells nothing of
the records. How many rows are on the device at once is public and fixed
(`fedloom.privacy.physical_rows`); it does not follow the free memory, because the rounding of a
sum depends on it.
"""

from __future__ import annotations

import re

from fedloom.common.errors import ConfigError

__all__ = ["DEVICE_PATTERN", "LEAST_FREE_BYTES", "torch_device"]

DEVICE_PATTERN = r"^(cpu|auto|cuda(:\d+)?)\Z"

LEAST_FREE_BYTES = 1 << 30
"""`auto` leaves a GPU with less free memory to whoever fills it."""


def torch_device(name: str) -> str:
    """Returns the torch device that `name` stands for.

    Args:
      name: "cpu"; "cuda" or "cuda:N", a GPU of this machine; or "auto", the GPU with the most free
        memory, the processor where there is none with a gibibyte free.

    Raises:
      ConfigError: the name is none of these, or the GPU does not exist.
    """
    if re.match(DEVICE_PATTERN, name) is None:
        raise ConfigError(
            f"a device is one of cpu, cuda, cuda:1 (or another number), auto: {name!r}"
        )
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        free, number = max(
            ((torch.cuda.mem_get_info(number)[0], -number) for number in range(count)),
            default=(0, 0),
        )
        return f"cuda:{-number}" if free >= LEAST_FREE_BYTES else "cpu"
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        have = ", ".join(f"cuda:{index}" for index in range(count)) or "none that torch sees"
        raise ConfigError(
            f"device {name!r}: this machine's GPUs are {have}; name one of them, auto or cpu in "
            "[site] device of site.toml, or by --device"
        )
    return name
