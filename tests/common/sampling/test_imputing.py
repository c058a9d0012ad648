"""Gaps in a table: drawn given what the record holds, and nothing else is touched."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from fedloom.common.artifact import Artifact
from fedloom.common.constraints import violations
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError, DataError
from fedloom.common.models.mixture import Mixture
from fedloom.common.sampling import impute, sample
from fedloom.common.sampling.posterior import Posterior
from fedloom.common.schema import Column, Schema
from fedloom.common.schema_constraint import Constraint

SCHEMA = Schema(
    (
        Column("a", "category", values=("p", "q", "r"), nullable=True),
        Column("b", "integer", minimum=0, maximum=9, bins=5, special=(3,), nullable=True),
        Column("r", "real", minimum=0, maximum=1, bins=4),
        Column("d", "datetime", minimum="2020-01-01", maximum="2020-01-31"),
        Column("t", "category", values=("0", "1"), nullable=True),
    )
)


def mixture(schema=SCHEMA, target="t"):
    encoding = Encoding(schema, target)
    rng = np.random.default_rng(11)
    cells = rng.gamma(0.4, size=(encoding.num_classes, 6, encoding.width)) + 1e-4
    for block in encoding.features:
        cells[:, :, block.start : block.start + block.size] *= block.sampleable
    prior = np.array(encoding.class_sampleable, dtype=float)
    prior[0] = 2.0
    return Artifact(
        kind="mixture", config={}, arrays={"probabilities": cells, "class_prior": prior}
    )


@pytest.fixture
def table():
    frame = sample(mixture(), SCHEMA, "t", 400, seed=3).reset_index(drop=True)
    rng = np.random.default_rng(4)
    holed = frame.astype(object).where(rng.random(frame.shape) > 0.3, None)
    return holed.assign(id=np.arange(400))


@pytest.mark.parametrize("target", ["t", "r", None])
def test_gaps_are_filled_and_the_rest_is_untouched(table, target):
    found = impute(mixture(target=target), SCHEMA, target, table, seed=1)
    filled = found.apply(table)
    assert not filled.isna().any().any() and found.left == 0
    given = ~table.isna()
    for name in table.columns:
        assert filled[name][given[name]].tolist() == table[name][given[name]].tolist()
    encoded = Encoding(SCHEMA, target).encode(filled)
    assert not any(encoded.clamped.values()) and not any(encoded.unknown.values())


def test_a_seed_repeats_and_columns_may_be_chosen(table):
    first, again, other = (impute(mixture(), SCHEMA, "t", table, seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(first.apply(table), again.apply(table))
    assert not first.apply(table).equals(other.apply(table))
    only = impute(mixture(), SCHEMA, "t", table, columns=["a"], seed=1)
    assert list(only.values) == ["a"]
    assert only.apply(table)["b"].isna().equals(table["b"].isna())


@pytest.mark.parametrize("label", ["1", None])
@pytest.mark.parametrize("informed", [True, False])
def test_a_gap_has_its_distribution_given_the_record(label, informed, monkeypatch):
    """Chi-square of pairs of two gaps at 30,000 draws, p above 1e-4: one false alarm in 10,000
    seeds. The twin looks at the label alone."""
    artifact, encoding = mixture(), Encoding(SCHEMA, "t")
    record = {"a": None, "b": None, "r": 0.3, "d": "2020-01-09", "t": label}
    frame = pd.DataFrame([record] * 30_000)
    m = Mixture.of(artifact, encoding)
    a, b, r, d = (m.cells[:, x.start : x.start + x.size].astype(float) for x in encoding.features)
    weights = m.weights * r[:, 1] * d[:, 8]
    weights *= m.classes == 1 if label else m.classes < 2
    expected = np.einsum("l,la,lb->ab", weights, a[:, :3], b[:, :6]).reshape(-1)
    if not informed:
        draw = Posterior.draw

        def blind(self, codes, known, gaps, rng):
            return draw(self, codes, known & np.array([0, 0, 0, 0, 1], dtype=bool), gaps, rng)

        monkeypatch.setattr(Posterior, "draw", blind)
    filled = impute(artifact, SCHEMA, "t", frame, seed=1).apply(frame)
    codes = encoding.encode(filled).codes
    found = np.bincount(codes[:, 0] * 6 + codes[:, 1], minlength=18)
    wanted = expected / expected.sum() * len(frame)
    assert bool(chisquare(found, wanted, sum_check=False).pvalue > 1e-4) is informed


def test_values_that_the_schema_does_not_know_are_passed_over():
    frame = pd.DataFrame(
        {"a": ["z", None], "b": [4, None], "r": [0.5, 0.5], "d": ["x", None], "t": ["0", "0"]}
    )
    found = impute(mixture(), SCHEMA, "t", frame, seed=1)
    assert found.unused == {"a": 1, "b": 0, "r": 0, "d": 1, "t": 0}
    filled = found.apply(frame)
    assert filled["a"][0] == "z" and filled["d"][0] == "x" and not filled.isna().any().any()


def test_constraints_are_kept_where_the_record_allows_it():
    columns = (
        Column("x", "integer", minimum=0, maximum=9),
        Column("y", "integer", minimum=0, maximum=9),
        Column("s", "category", values=("p", "q")),
        Column("c", "category", values=("1", "2", "3", "4")),
    )
    rules = (
        Constraint("order", ("x", "y"), strict=True),
        Constraint("fixed-combinations", ("s", "c"), rows=(("p", "1"), ("p", "2"), ("q", "3"))),
    )
    schema = Schema(columns, rules)
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "x": rng.integers(0, 10, 500),
            "y": rng.integers(0, 10, 500),
            "s": rng.choice(["p", "q"], 500),
            "c": rng.choice(["1", "2", "3", "4"], 500),
        }
    ).astype(object)
    holes = np.zeros(frame.shape, dtype=bool)
    holes[np.arange(500), rng.integers(0, 4, 500)] = True
    holed = frame.where(~holes, None)
    before = violations(holed, schema)
    found = impute(mixture(schema, None), schema, None, holed, seed=1)
    filled = found.apply(holed)
    assert violations(filled, schema) == before
    impossible = (holed["y"].isna() & (holed["x"] == 9)) | (holed["x"].isna() & (holed["y"] == 0))
    impossible |= holed["s"].isna() & (holed["c"] == "4")
    assert found.left == impossible.sum() > 0
    assert filled.isna().any(axis=1).equals(impossible)


def test_tables_that_do_not_fit_are_refused(table):
    with pytest.raises(ConfigError, match="no column 'q' in the schema"):
        impute(mixture(), SCHEMA, "t", table, columns=["q"])
    with pytest.raises(DataError, match="no column 'b'"):
        impute(mixture(), SCHEMA, "t", table.drop(columns="b"))


def test_a_table_without_gaps_or_records_is_left_as_it_is(table):
    whole = table.dropna()
    assert impute(mixture(), SCHEMA, "t", whole).apply(whole).equals(whole)
    assert not impute(mixture(), SCHEMA, "t", table.iloc[:0]).values


def test_a_label_that_the_generator_never_draws_says_nothing(table):
    artifact = mixture()
    artifact.arrays["class_prior"] = np.array([1.0, 0.0, 0.0, 0.0])
    artifact.arrays["probabilities"][1] = 0.0
    only = table[table["t"] == "1"]
    filled = impute(artifact, SCHEMA, "t", only, seed=1).apply(only)
    assert len(only) and not filled.isna().any().any() and set(filled["t"]) == {"1"}
