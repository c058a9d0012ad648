"""Which device a site takes, on a machine whose GPUs are made up."""

from __future__ import annotations

import pytest
import torch

from fedloom.client.device import LEAST_FREE_BYTES, torch_device
from fedloom.common.errors import ConfigError

GIB = 1 << 30


@pytest.fixture
def gpus(monkeypatch):
    """Gives the machine GPUs with so many bytes free each."""

    def have(*free: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (free[number], 80 * GIB))

    return have


@pytest.mark.parametrize(
    "free, name, device",
    [
        ((), "cpu", "cpu"),
        ((), "auto", "cpu"),
        ((4 * GIB,), "cpu", "cpu"),
        ((4 * GIB,), "cuda", "cuda"),
        ((4 * GIB, 5 * GIB), "cuda:1", "cuda:1"),
        ((4 * GIB, 5 * GIB, GIB), "auto", "cuda:1"),
        ((5 * GIB, 5 * GIB), "auto", "cuda:0"),
        ((LEAST_FREE_BYTES - 1, 0), "auto", "cpu"),
    ],
)
def test_a_site_takes_the_gpu_it_names_or_the_one_with_most_room(gpus, free, name, device):
    gpus(*free)
    assert torch_device(name) == device


@pytest.mark.parametrize(
    "free, name", [((), "cuda"), ((4 * GIB,), "cuda:1"), ((), "gpu"), ((), "cuda:x"), ((), "")]
)
def test_a_device_that_does_not_exist_is_refused(gpus, free, name):
    gpus(*free)
    with pytest.raises(ConfigError):
        torch_device(name)
