"""Every row of a physical batch must be computed alike, or a record's place would matter."""

from __future__ import annotations

import pytest
import torch

import fedloom.privacy.clipping.row_invariance as alike
from fedloom.common.encoding import Encoding
from fedloom.common.models import build_model
from fedloom.common.models.registry import read_model
from fedloom.common.schema import Column, Schema
from fedloom.privacy.clipping.row_invariance import rows_are_invariant


def made(kind, classes, **settings):
    columns = (
        Column("a", "integer", minimum=0, maximum=9),
        Column("b", "category", values=("x", "y")),
        Column("y", "category", values=tuple(str(value) for value in range(classes - 1))),
    )
    encoding = Encoding(Schema(columns), "y")
    return build_model(read_model({"kind": kind, **settings}, where="test"), encoding), encoding


@pytest.mark.parametrize("rows", [64, 512])
@pytest.mark.parametrize("kind", ["vae", "gan"])
@pytest.mark.parametrize("classes", [3, 4, 7, 11])
@pytest.mark.parametrize("latent", [1, 5, 8])
def test_the_models_are_alike_in_all_rows(kind, classes, latent, rows):
    model, coder = made(kind, classes, latent=latent, hidden=20)
    assert rows_are_invariant(model, coder=coder, max_physical_batch=rows)


def test_a_model_that_looks_at_the_place_of_a_row_is_caught():
    model, coder = made("vae", 3)
    honest = model.loss

    def place(module, batch):
        return honest(module, batch) * (1 + 1e-6 * torch.arange(len(batch["base"])))

    model.loss = place
    assert not rows_are_invariant(model, coder=coder, max_physical_batch=64)


def test_a_machine_that_multiplies_in_less_precision_is_caught(monkeypatch):
    model, coder = made("vae", 3)

    def coarse(b, a):
        return (b.bfloat16().t() @ a.bfloat16()).double()

    monkeypatch.setattr(alike, "block_products", coarse)
    assert not rows_are_invariant(model, coder=coder, max_physical_batch=64)
