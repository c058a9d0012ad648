"""What a coder of images keeps in memory, and for how long."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pandas as pd
import pytest

import fedloom
from fedloom.client.vault import Vault
from fedloom.common.images import coder as coder_module
from fedloom.common.images.coder import ImageCoder
from tests.images.conftest import SITES


@pytest.fixture
def made(monkeypatch):
    """Weak references to all vectors that were made."""
    seen, real = [], coder_module.image_vectors

    def watched(*given):
        vectors = real(*given)
        seen.append(weakref.ref(vectors))
        return vectors

    monkeypatch.setattr(coder_module, "image_vectors", watched)
    return seen


@pytest.fixture
def without_collector():
    gc.disable()
    yield
    gc.enable()


def coded(coder, digits):
    images = list(digits["image"][:20, ..., None])
    return coder.coded(pd.DataFrame({"digit": digits["digit"][:20], "image": images}))


@pytest.mark.usefixtures("without_collector")
def test_vectors_live_as_long_as_their_records(schema, digits, made):
    coder = ImageCoder(schema, "digit")
    features = coded(coder, digits).features
    first = coder.vectors(features, False)
    assert coder.vectors(features, False) is first and len(made) == 1
    del first
    assert made[0]() is not None
    del features
    assert made[0]() is None


@pytest.mark.usefixtures("without_collector")
def test_records_that_go_take_no_vectors_of_others_with_them(schema, digits, made):
    coder = ImageCoder(schema, "digit")
    first, second = coded(coder, digits).features, coded(coder, digits).features
    coder.vectors(first, False), coder.vectors(second, True)
    del first
    assert made[0]() is None and made[1]() is not None


def test_a_vault_that_forgets_a_plan_keeps_no_vectors(
    tmp_path, digits, study_at, made, monkeypatch
):
    real, left = Vault._forget, []

    def forget(vault, plan):
        held = bool(vault._records)
        real(vault, plan)
        if held:
            left.append([vectors() is not None for vectors in made])

    monkeypatch.setattr(Vault, "_forget", forget)
    tables = {}
    for number, site in enumerate(SITES):
        rows = np.arange(number, 400, 4)
        tables[site] = tmp_path / f"{site}.npz"
        np.savez(tables[site], image=digits["image"][rows], digit=digits["digit"][rows])
    fedloom.simulate(study_at(tmp_path), tables, out=tmp_path / "run")
    assert len(made) == len(left) == len(SITES)
    assert not any(left[-1])
