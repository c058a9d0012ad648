"""Shares of items: estimates, intervals that cover, and refusals of what was not counted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from fedloom.common.column import Column
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.schema import Schema
from fedloom.common.set_marginals import NoisyItems
from fedloom.privacy.inference.formula import parse_factor
from fedloom.privacy.inference.item_shares import item_shares
from tests.counted_items import counted_items

ENCODING = Encoding(
    Schema(
        (
            Column("s", "set", values=("a", "b", "c"), maximum=2),
            Column("n", "integer", minimum=0, maximum=1),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
RATES = {"0": 0.3, "1": 0.6}  # of the item b
STD = 25.0


def records(rng: np.random.Generator, rows: int = 3_000) -> pd.DataFrame:
    label = rng.integers(0, 2, rows).astype(str)
    held = rng.random(rows) < np.where(label == "1", RATES["1"], RATES["0"])
    return pd.DataFrame({"s": np.where(held, "b|a", "a"), "n": 0, "t": label})


def statistics(rng: np.random.Generator, std: float = STD) -> NoisyMarginals:
    return counted_items(ENCODING, records(rng), np.zeros(3), std=std, rng=rng)


def asked(noisy: NoisyMarginals, text: str = "s == b", by: str | None = None, **options):
    factor = None if by is None else parse_factor(by)
    return item_shares(noisy, parse_factor(text), factor, **{"differences": False, **options})


def with_less_noise(noisy: NoisyMarginals) -> NoisyMarginals:
    """Returns sums that state a third of their noise."""
    items = noisy.items
    assert items is not None and items.pairs is not None
    pairs = dataclasses.replace(items.pairs, std=STD / 3)
    return dataclasses.replace(
        noisy, items=NoisyItems(counts=items.counts, std=STD / 3, pairs=pairs)
    )


@pytest.mark.parametrize("honest", [True, False])
def test_intervals_cover_as_often_as_they_say_and_not_with_noise_understated(honest):
    """Records are drawn anew each time, from a fixed seed."""
    rng, covered = np.random.default_rng(5), []
    for _ in range(120):
        noisy = statistics(rng)
        noisy = noisy if honest else with_less_noise(noisy)
        found = [*asked(noisy, by="t"), *asked(noisy, by="t", differences=True)]
        truth = [RATES["0"], RATES["1"], RATES["1"] - RATES["0"]]
        covered += [one.lower <= true <= one.upper for one, true in zip(found, truth, strict=True)]
    assert (0.91 < float(np.mean(covered)) < 0.99) is honest


def test_every_item_of_a_set_has_a_share_of_all_records():
    found = asked(statistics(np.random.default_rng(1), std=1e-3), "s")
    assert [one.name for one in found] == ["a", "b", "c"]
    assert found[0].value == pytest.approx(1.0) and found[2].value == pytest.approx(0.0, abs=1e-5)
    assert found[1].value == pytest.approx(0.45, abs=0.04)
    people = asked(statistics(np.random.default_rng(1), std=1e-3), "s", alike=4)
    assert people[1].std_sampling == pytest.approx(2 * found[1].std_sampling)


def test_two_measurements_of_a_count_are_averaged():
    noisy = statistics(np.random.default_rng(2))
    alone = dataclasses.replace(noisy, items=dataclasses.replace(noisy.items, pairs=None))
    (both,), (one,) = asked(noisy), asked(alone)
    # 1 / s^2 and 1 / (3 s^2): two classes and the label that is missing.
    ratio = 1.0 / (1.0 + 1.0 / ENCODING.num_classes)
    records = noisy.total()
    count_noise = noisy.count_std() ** 2 * ENCODING.num_classes * both.value**2
    assert (both.std_noise * records) ** 2 - count_noise == pytest.approx(STD**2 * ratio, rel=0.01)
    assert one.std_noise > both.std_noise


@pytest.mark.parametrize(
    "text, by, error",
    [
        ("s == x", None, ConfigError),
        ("log(s)", None, ConfigError),
        ("s", "n", NotMeasuredError),
        ("s", "t == 1", NotMeasuredError),
    ],
)
def test_what_was_not_counted_is_refused(text, by, error):
    with pytest.raises(error):
        asked(statistics(np.random.default_rng(1)), text, by)


def test_classes_that_noise_hides_have_no_share():
    noisy = statistics(np.random.default_rng(1), std=3_000.0)
    with pytest.raises(NotMeasuredError):
        asked(noisy, by="t")
