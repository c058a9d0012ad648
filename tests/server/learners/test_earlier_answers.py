"""Two studies' answers put together: the mean by precision; changed records are left out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedloom.common.class_column_marginals import ClassColumnMarginals, NoisyClassColumns
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals, groups_of_one
from fedloom.common.parities import NoisyParities
from fedloom.common.schema import Column, Schema
from fedloom.common.set_marginals import ItemPairs, NoisyItemPairs, NoisyItems
from fedloom.common.three_way_marginals import NoisyTriples, ThreeWayMarginals
from fedloom.server.learners import earlier_answers
from fedloom.server.learners.earlier_answers import combined, same_records
from fedloom.server.tree_design import choose_groups
from tests.inferred import SCHEMA, drawn

ENCODING = Encoding(SCHEMA, "sick")
STDS = (15.0, 5.0)


@pytest.fixture(scope="module")
def codes() -> tuple[np.ndarray, np.ndarray]:
    found = ENCODING.encode(drawn(2000, np.random.default_rng(0))).codes
    return ENCODING.feature_codes(found), ENCODING.classes(found)


@pytest.fixture(scope="module")
def groups(codes) -> np.ndarray:
    exact = ColumnMarginals(ENCODING).sum(*codes).astype(float)
    known = NoisyMarginals(encoding=ENCODING, look=exact, look_std=10.0, by_class=False)
    return choose_groups(known, pair_std=10.0, most_cells=100_000)


def answers(codes, groups, std: float, rng: np.random.Generator) -> NoisyMarginals:
    def noisy(exact: np.ndarray) -> np.ndarray:
        return exact + std * rng.normal(size=exact.shape)

    classes = ClassColumnMarginals(ENCODING, groups)
    coarse = np.minimum(groups, 1)
    triples = ThreeWayMarginals(ENCODING, coarse).sum(*codes)
    return NoisyMarginals(
        encoding=ENCODING,
        look=noisy(ColumnMarginals(ENCODING).sum(*codes)),
        look_std=std,
        by_class=False,
        groups=groups,
        pairs=noisy(TwoWayMarginals(ENCODING, groups).sum(*codes)),
        pair_std=std,
        class_columns=NoisyClassColumns(
            counts=tuple(classes.blocks(noisy(classes.sum(*codes)))), std=std
        ),
        triples=NoisyTriples(
            groups=coarse, counts=noisy(triples).reshape(ENCODING.num_classes, -1), std=std
        ),
        parities=NoisyParities(halves=coarse, sums=noisy(np.ones((2, 7))), std=std),
    )


def test_every_sum_is_the_mean_by_precision(codes, groups):
    rng = np.random.default_rng(1)
    new, old = (answers(codes, groups, std, rng) for std in STDS)
    found = combined(new, old)
    # 1 / 15^2 and 1 / 5^2 are as 1 to 9.
    for name in ("look", "pairs"):
        expected = 0.1 * getattr(new, name) + 0.9 * getattr(old, name)
        assert getattr(found, name) == pytest.approx(expected)
    assert found.triples.counts == pytest.approx(
        0.1 * new.triples.counts + 0.9 * old.triples.counts
    )
    assert found.parities.sums == pytest.approx(0.1 * new.parities.sums + 0.9 * old.parities.sums)
    for one, ours, theirs in zip(
        found.class_columns.counts, new.class_columns.counts, old.class_columns.counts, strict=True
    ):
        assert one == pytest.approx(0.1 * ours + 0.9 * theirs)
    parts = (found.triples, found.parities, found.class_columns)
    stds = [found.look_std, found.pair_std, *(part.std for part in parts)]
    assert stds == pytest.approx([15.0 / 10.0**0.5] * 5)


def test_the_error_is_the_least_that_both_can_have_and_a_plain_mean_is_worse(codes, groups):
    rng = np.random.default_rng(2)
    exact = TwoWayMarginals(ENCODING, groups).sum(*codes)
    new, old = (answers(codes, groups, std, rng) for std in STDS)
    found = combined(new, old)
    error = float(np.std(found.pairs - exact))
    assert error == pytest.approx(found.pair_std, rel=0.15)
    assert float(np.std((new.pairs + old.pairs) / 2 - exact)) > 1.3 * error


def test_what_was_counted_on_other_groups_stays_as_it_was_asked(codes, groups):
    rng = np.random.default_rng(3)
    new, old = answers(codes, groups, 15.0, rng), answers(codes, np.minimum(groups, 2), 5.0, rng)
    found = combined(new, old)
    assert found.look_std < new.look_std
    assert found.pairs is new.pairs and found.triples is new.triples


def test_changed_records_are_seen_and_left_out_and_a_trusting_twin_is_misled(
    codes, groups, monkeypatch
):
    rng = np.random.default_rng(4)
    new, old = (answers(codes, groups, std, rng) for std in STDS)
    assert same_records(new, old)
    fewer = codes[0][:1700], codes[1][:1700]
    old = answers(fewer, groups, 5.0, rng)
    assert not same_records(new, old)
    assert combined(new, old) is new
    exact = ColumnMarginals(ENCODING).sum(*codes)
    monkeypatch.setattr(earlier_answers, "same_records", lambda *_: True)
    trusting = combined(new, old)
    assert np.abs(trusting.look - exact).max() > 10 * trusting.look_std


def test_the_test_of_same_records_has_its_level(codes, groups):
    rng = np.random.default_rng(5)
    look = ColumnMarginals(ENCODING).sum(*codes).astype(float)

    def told(std: float) -> NoisyMarginals:
        noisy = look + std * rng.normal(size=look.shape)
        return NoisyMarginals(encoding=ENCODING, look=noisy, look_std=std, by_class=False)

    refused = [not same_records(told(15.0), told(5.0)) for _ in range(2000)]
    assert sum(refused) <= 1  # 0.002 expected
    # Half the noise that there is: nearly all are refused.
    halved = [
        not same_records(*(dataclasses.replace(told(s), look_std=s / 2) for s in STDS))
        for _ in range(50)
    ]
    assert sum(halved) > 45


def test_items_of_sets_are_put_together_where_they_were_counted_alike():
    items = Column("s", "set", values=("a", "b", "c"), maximum=2)
    coder = Encoding(Schema((items, Column("x", "category", values=("0", "1")))))
    groups = groups_of_one(coder)

    def counted(value: float, std: float, frequent: list[int]) -> NoisyMarginals:
        measured = ItemPairs(coder, groups, np.array(frequent, dtype=np.int32))
        pairs = NoisyItemPairs(measured=measured, sums=np.full(measured.length, value), std=std)
        return NoisyMarginals(
            encoding=coder,
            look=np.full(ColumnMarginals(coder).length, 50.0),
            look_std=std,
            by_class=False,
            groups=groups,
            pairs=np.full(TwoWayMarginals(coder, groups).length, value),
            pair_std=std,
            items=NoisyItems(counts=np.full(3, value), std=std, pairs=pairs),
        )

    new = counted(10.0, 15.0, [1, 0, 1])
    found = combined(new, counted(20.0, 5.0, [1, 0, 1])).items
    assert found is not None and found.pairs is not None
    assert found.counts == pytest.approx(np.full(3, 19.0))
    assert found.pairs.sums == pytest.approx(np.full(len(found.pairs.sums), 19.0))
    assert [found.std, found.pairs.std] == pytest.approx([np.sqrt(22.5)] * 2)
    others = combined(new, counted(20.0, 5.0, [1, 1, 0])).items
    assert others is not None and others.counts == pytest.approx(found.counts)
    assert others.pairs is not None and (others.pairs.sums == 10.0).all()
