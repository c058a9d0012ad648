"""A toy table, coded, and the two neural models over it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from fedloom.common.encoding import Encoding
from fedloom.common.models import PrivateModel, build_model
from fedloom.common.models.private_model import PUBLIC
from fedloom.common.models.registry import ModelSettings, read_model
from fedloom.common.schema import Schema


@pytest.fixture
def encoding(toy_schema: Schema) -> Encoding:
    return Encoding(toy_schema, "label")


@pytest.fixture
def coded(
    encoding: Encoding, toy_table: pd.DataFrame
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    codes = encoding.encode(toy_table).codes
    return encoding.feature_codes(codes), encoding.classes(codes)


def small(kind: str) -> ModelSettings:
    """A model of a few parameters."""
    critic = {"critic_hidden": 6} if kind == "gan" else {}
    return read_model({"kind": kind, "hidden": 6, "latent": 3, **critic}, where="test")


@pytest.fixture(params=["vae", "gan"])
def model(request: pytest.FixtureRequest, encoding: Encoding) -> PrivateModel:
    return build_model(small(request.param), encoding)


@pytest.fixture
def public(model: PrivateModel, encoding: Encoding) -> dict[str, NDArray[np.float32]]:
    """Uniform marginals, and small random numbers for everything else."""
    rng = np.random.default_rng(5)
    uniform = np.concatenate([np.full(b.size, -np.log(b.size)) for b in encoding.features])
    arrays = {}
    for name, shape in model.public_shapes.items():
        values = rng.normal(0, 0.3, shape)
        if shape == (encoding.num_classes, encoding.width) and PUBLIC in name:
            values = np.broadcast_to(uniform, shape)
        arrays[name] = values.astype(np.float32)
    return arrays


@pytest.fixture
def perturbed(model: PrivateModel) -> torch.nn.Module:
    """The private module in double precision, away from its special first weights."""
    module = model.private_module(3).double()
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return module
