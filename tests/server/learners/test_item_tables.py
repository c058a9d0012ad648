"""What counts of items tell: exact without noise, and what stands for the noise of their tables."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest

from fedloom.common import set_marginals
from fedloom.common.column import Column
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.marginals import NoisyMarginals, groups_of_one
from fedloom.common.models.cell_tables import CellTables
from fedloom.common.models.registry import TreeSettings
from fedloom.common.models.tree import tree_shapes
from fedloom.common.sampling import sample
from fedloom.common.sampling.conditions import item_conditions
from fedloom.common.schema import Schema
from fedloom.common.set_cells import read_sets
from fedloom.common.set_marginals import (
    ItemPairs,
    NoisyItemPairs,
    NoisyItems,
    item_codes,
)
from fedloom.server.item_design import choose_items, frequent_items
from fedloom.server.learners.item_tables import ItemTables
from fedloom.server.learners.tree import TreeLearner
from fedloom.server.learners.with_margins import with_margins
from tests.counted_items import counted_items

ENCODING = Encoding(
    Schema(
        (
            Column("n", "integer", minimum=0, maximum=2),
            Column("s", "set", values=tuple("abcdef"), maximum=4),
            Column("t", "category", values=("0", "1")),
        )
    ),
    "t",
)
FREQUENT = np.array([1, 1, 0, 0, 1, 0], dtype=np.int32)


def records(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, rows)
    held = rng.random((rows, 6)) < np.array([0.5, 0.4, 0.1, 0.05, 0.3, 0.0])
    held[:, 1] &= held[:, 0]
    held[:, 4] &= label == 1
    sets = ["|".join(itertools.compress("abcdef", row)) for row in held]
    return pd.DataFrame({"n": rng.integers(0, 3, rows), "s": sets, "t": label.astype(str)})


def statistics(frame: pd.DataFrame, std: float = 1e-6) -> NoisyMarginals:
    return counted_items(ENCODING, frame, FREQUENT, std=std, rng=np.random.default_rng(4))


def held(frame: pd.DataFrame) -> np.ndarray:
    items = ENCODING.coded(frame).features[:, 2:]
    return (items[:, :, None] == np.arange(6)).any(axis=1)


def shares(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns the share of each cell within each class (C, D), and the classes' records."""
    coded = ENCODING.coded(frame)
    found = np.zeros((ENCODING.num_classes, ENCODING.width))
    for place, block in enumerate(ENCODING.features):
        np.add.at(found, (coded.classes, block.start + coded.features[:, place]), 1.0)
    sizes = np.bincount(coded.classes, minlength=ENCODING.num_classes).astype(float)
    return found / np.maximum(sizes, 1.0)[:, None], sizes


@pytest.mark.parametrize("worth, code", [(0, 1), (3, 2)])
def test_without_noise_rates_and_tables_are_those_of_the_records(monkeypatch, worth, code):
    monkeypatch.setattr(set_marginals, "_WORTH", worth)
    assert item_codes(ENCODING).tolist() == [code] * 6
    frame = records(3_000)
    cells, sizes = shares(frame)
    tables = ItemTables(statistics(frame), cells, np.maximum(sizes, 1e-9))
    truth, classes = held(frame), ENCODING.coded(frame).classes
    assert tables.frequent.tolist() == [0, 1, 4]
    for label in (0, 1):
        mine = truth[classes == label]
        assert tables.rates[label] == pytest.approx(mine.mean(axis=0), abs=2e-3)
        of_items = [np.array([(~has).sum(), has.sum()]) for has in mine[:, tables.frequent].T]
        margins = [
            sizes[label] * cells[label, block.start : block.start + block.size]
            for block in ENCODING.features
        ] + of_items
        found = tables.tables(label, margins)
        assert set(found) == {(f, 2 + j) for f in (0, 1) for j in range(3)} | {
            (2, 3),
            (2, 4),
            (3, 4),
        }
        codes = ENCODING.coded(frame).features[classes == label]
        columns = [*codes[:, :2].T, *mine[:, tables.frequent].T.astype(int)]
        for (one, other), table in found.items():
            expected = np.zeros(table.shape)
            np.add.at(expected, (columns[one], columns[other]), 1.0)
            np.testing.assert_allclose(table, expected, atol=1e-3)


def test_rates_of_a_class_sum_to_its_number_of_items():
    frame = records(2_000)
    cells, sizes = shares(frame)
    tables = ItemTables(statistics(frame, std=40.0), cells, np.maximum(sizes, 1e-9))
    number = ENCODING.features[1]
    mean = cells[:, number.start : number.start + 5] @ np.arange(5)
    assert tables.rates[:2].sum(axis=1) == pytest.approx(mean[:2], rel=0.02)
    assert (tables.rates >= 0.0).all() and (tables.rates <= 1.0).all()


@pytest.mark.parametrize("most, code", [(1, 1), (4, 2)])
def test_what_stands_for_the_noise_is_that_of_a_table_counted_in_full(most, code):
    """Each number that was counted is moved by one: tables and margins' exchange are linear."""
    items = Column("s", "set", values=tuple("abcdef"), maximum=most)
    columns = (ENCODING.schema.columns[0], items, ENCODING.schema.columns[2])
    encoding = Encoding(Schema(columns), "t")
    groups, std = groups_of_one(encoding), 7.0
    measured = ItemPairs(encoding, groups, FREQUENT)
    assert measured.codes.tolist() == [code] * 3

    def tables(moved: int | None):
        sums = np.zeros(measured.length)
        if moved is not None:
            sums[moved] = 1.0
        items = NoisyItems(
            counts=np.zeros(6),
            std=std,
            pairs=NoisyItemPairs(measured=measured, sums=sums, std=std),
        )
        noisy = NoisyMarginals(
            encoding=encoding,
            look=np.zeros(ColumnMarginals(encoding).length),
            look_std=std,
            by_class=False,
            items=items,
        )
        cells = np.full((encoding.num_classes, encoding.width), 0.1)
        return ItemTables(noisy, cells, np.ones(encoding.num_classes))

    sizes = [block.size for block in encoding.features] + [2] * 3
    margins = [np.zeros(size) for size in sizes]
    before = tables(None)
    for pair, places in (
        ((0, 2), range(6, 6 + sizes[0])),
        ((2, 3), [measured.length // encoding.num_classes - 3]),
    ):
        layout = CellTables(tuple(sizes), (pair,))

        def exchanged(table, layout=layout):
            return with_margins(layout, table.reshape(-1), margins)

        moves = [
            exchanged(tables(place).tables(0, margins)[pair] - before.tables(0, margins)[pair])
            for place in places
        ]
        assert all(np.abs(move).max() > 0 for move in moves)
        in_full = [exchanged(unit) for unit in np.eye(layout.length)]
        errors = [std * np.sqrt(np.square(moves).sum(axis=0))]
        errors.append(before.noise_of(pair) * np.sqrt(np.square(in_full).sum(axis=0)))
        assert errors[0] == pytest.approx(errors[1])


@pytest.fixture(scope="module")
def fitted():
    """Returns the tree of a table without noise, and the table."""
    frame = records(4_000)
    settings = TreeSettings(max_clique=16)
    learner = TreeLearner(settings, None, ENCODING)
    return learner.export(learner.initialise(statistics(frame), seed=1)), frame


def test_a_tree_keeps_rates_pairs_and_number_of_items(fitted):
    artifact, frame = fitted
    made = sample(artifact, ENCODING.schema, "t", 4_000, seed=1)
    real, drawn = held(frame), held(made)
    assert drawn.mean(axis=0) == pytest.approx(real.mean(axis=0), abs=0.02)
    pairs = [(part.T.astype(float) @ part / len(part))[:2, :5] for part in (real, drawn)]
    np.testing.assert_allclose(pairs[0], pairs[1], atol=0.02)
    numbers = [np.bincount(part.sum(axis=1), minlength=7) / 4_000 for part in (real, drawn)]
    np.testing.assert_allclose(*numbers, atol=0.02)
    label = [
        part[(table["t"] == "1").to_numpy(), 4].mean()
        for part, table in ((real, frame), (drawn, made))
    ]
    assert label[1] == pytest.approx(label[0], abs=0.03)


def test_a_condition_on_items_is_met_and_draws_what_goes_with_them(fitted):
    artifact, frame = fitted
    made = sample(artifact, ENCODING.schema, "t", 1_000, where={"s": "a & e"}, seed=1)
    drawn, real = held(made), held(frame)
    assert drawn[:, 0].all() and drawn[:, 4].all() and (made["t"] == "1").mean() > 0.97
    both = real[real[:, 0] & real[:, 4]]
    assert drawn[:, 1].mean() == pytest.approx(both[:, 1].mean(), abs=0.08)
    assert (read_sets(ENCODING.schema.column("s"), made["s"]).cut == 0).all()


@pytest.mark.parametrize("wanted", ["c", "x", "a&f", ""])
def test_rare_and_unknown_items_are_no_conditions(fitted, wanted):
    with pytest.raises(ConfigError):
        sample(fitted[0], ENCODING.schema, "t", 10, where={"s": wanted}, seed=1)


def test_a_condition_on_more_items_than_a_record_may_have_is_refused():
    schema = Schema(
        (Column("s", "set", values=("a", "b", "c"), maximum=2), *ENCODING.schema.columns[::2])
    )
    with pytest.raises(ConfigError):
        item_conditions({"s": "a&b&c"}, Encoding(schema, "t"))
    assert len(item_conditions({"s": "a&b&a"}, Encoding(schema, "t"))) == 2


def test_another_schemas_items_do_not_fit_a_tree(fitted):
    artifact, _ = fitted
    for frequent in ([0, 1], [1, 0, 4], [0, 1, 6]):
        other = dataclasses.replace(artifact, config={**artifact.config, "frequent": frequent})
        with pytest.raises(ConfigError):
            sample(other, ENCODING.schema, "t", 10, seed=1)


def test_a_tree_with_more_frequent_items_than_a_study_asks_for_is_not_read():
    items = Column("s", "set", values=tuple(f"i{i}" for i in range(5_000)), maximum=2)
    coder = Encoding(Schema((items,)))
    for count in (set_marginals.MOST_FREQUENT, 5_000):
        config = {
            "groups": [[0, 1, 2, 3]] + [[0, 1]] * count,
            "frequent": list(range(count)),
            "cliques": [[c] for c in range(count + 1)],
            "parents": [-1, *range(count)],
            "pool_rows": [0],
            "pool_seed": 1,
        }
        if count <= set_marginals.MOST_FREQUENT:
            assert len(tree_shapes(config, coder)) > 0
            continue
        with pytest.raises(ConfigError):
            tree_shapes(config, coder)


def test_items_that_stand_out_are_counted_with_others_as_far_as_there_is_room():
    noisy = statistics(records(2_000))
    assert noisy.items is not None
    noisy = dataclasses.replace(noisy, items=dataclasses.replace(noisy.items, std=80.0))
    groups, frequent = choose_items(noisy, most_cells=10**6)
    assert groups.tolist() == noisy.groups.tolist()
    assert frequent_items(ENCODING, frequent) == {"s": ["a", "b", "e"]}
    few = choose_items(noisy, most_cells=ItemPairs(ENCODING, groups, frequent).length - 1)[1]
    assert frequent_items(ENCODING, few) == {"s": ["a", "b"]}
