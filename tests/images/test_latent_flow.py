"""A flow of latents: a density, undone by NumPy, and what it learns that a Gaussian cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedloom.common.images.net_sizes import flow_shapes
from fedloom.common.images.written import unflowed
from fedloom.common.models.latent_flow import LatentFlow
from fedloom.common.models.private_model import read_weights

CLASSES = 2


def stirred(latent: int, couplings: int, size: float = 0.4) -> LatentFlow:
    rng = torch.Generator().manual_seed(1)
    flow = LatentFlow(latent, CLASSES, couplings, rng)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=rng))
    return flow


def arrays_of(flow: LatentFlow) -> dict[str, np.ndarray]:
    return {f"flow.{name}": value.astype(np.float64) for name, value in read_weights(flow).items()}


def test_a_fresh_flow_changes_nothing_and_adds_nothing():
    flow = LatentFlow(5, CLASSES, 4, torch.Generator().manual_seed(2))
    numbers, classes = torch.randn(6, 5), torch.eye(CLASSES)[[0, 1] * 3]
    moved, stretched = flow(numbers, classes)
    torch.testing.assert_close(moved, numbers)
    assert not stretched.any() and not flow.added(numbers, classes).any()


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_its_log_determinant_is_that_of_its_jacobian(latent):
    flow, row = stirred(latent, 3).double(), torch.eye(CLASSES).double()[1:]
    numbers = torch.randn(1, latent, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: flow(z, row)[0][0], numbers)[:, 0]
    expected = torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(flow(numbers, row)[1][0], expected)


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_numpy_undoes_what_torch_does(latent):
    flow, classes = stirred(latent, 4), torch.eye(CLASSES)[[0, 1, 1]]
    numbers = torch.randn(3, latent)
    moved = flow(numbers, classes)[0].detach().double().numpy()
    found = unflowed(arrays_of(flow), moved, classes.double().numpy())
    np.testing.assert_allclose(found, numbers.numpy(), atol=1e-4)


def test_its_arrays_have_the_shapes_that_are_known_without_torch():
    found = {name: value.shape for name, value in read_weights(stirred(5, 3)).items()}
    assert found == flow_shapes(5, CLASSES, 3)


def test_it_learns_latents_that_lie_on_two_sides_of_a_curve():
    """Class 0 bends: the second number is the square of the first. No Gaussian says so."""
    rng = torch.Generator().manual_seed(3)
    first = torch.randn(800, generator=rng)
    classes = torch.eye(CLASSES)[[0, 1] * 400]
    noise = 0.2 * torch.randn(800, generator=rng)
    second = torch.where(classes[:, 0] > 0, 0.7 * (first.square() - 1.0), torch.zeros(800)) + noise
    numbers = torch.stack([first, second], dim=1)
    flow = LatentFlow(2, CLASSES, 4, rng)
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.02)
    for _ in range(250):
        optimiser.zero_grad()
        flow.added(numbers, classes).mean().backward()
        optimiser.step()
    draws = np.random.default_rng(4).standard_normal((2000, 2))
    rows = np.eye(CLASSES)[np.repeat([0, 1], 1000)]
    made = unflowed(arrays_of(flow), draws, rows)
    bends = [np.corrcoef(part[:, 0] ** 2, part[:, 1])[0, 1] for part in (made[:1000], made[1000:])]
    assert bends[0] > 0.8
    assert abs(bends[1]) < 0.3
