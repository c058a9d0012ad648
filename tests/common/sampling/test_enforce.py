"""Every record keeps every constraint and condition: by rejection exactly, by repair always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedloom.common.artifact import Artifact
from fedloom.common.constraints import violations
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.sampling import (
    Sampler,
    Tally,
    combined,
    enforce,
    sample,
    sample_chunks,
)
from fedloom.common.schema import Column, Schema
from fedloom.common.schema_constraint import Constraint

COLUMNS = (
    Column("a", "integer", minimum=0, maximum=19, bins=5, special=(99,), nullable=True),
    Column("b", "integer", minimum=-5, maximum=30, bins=6),
    Column("r", "real", minimum=-3, maximum=100, bins=7, special=(100,)),
    Column("in", "datetime", minimum="2020-01-01", maximum="2020-03-31", bins=6),
    Column("out", "datetime", minimum="2020-01-01", maximum="2020-03-31", bins=4, nullable=True),
    Column("state", "category", values=("NY", "MA", "CT")),
    Column("size", "integer", minimum=0, maximum=300, bins=3),
    Column("label", "category", values=("no", "yes"), other="else"),
)
ORDERS = (
    Constraint("order", ("b", "r"), strict=True),
    Constraint("order", ("a", "r")),
    Constraint("order", ("in", "out"), strict=True),
)
ROWS = (("NY", 250, "no"), ("MA", 3, "no"), ("MA", 4, "yes"), ("CT", 120, "else"))
COMBINATIONS = Constraint("fixed-combinations", ("state", "size", "label"), rows=ROWS)
SCHEMA = Schema(COLUMNS, (*ORDERS, COMBINATIONS))


def mixture(schema, target, *, seed=20260101, components=5, spread=0.3):
    """A mixture whose components differ much from each other."""
    encoding = Encoding(schema, target)
    rng = np.random.default_rng(seed)
    cells = rng.gamma(spread, size=(encoding.num_classes, components, encoding.width)) + 1e-6
    for block in encoding.features:
        cells[:, :, block.start : block.start + block.size] *= block.sampleable
    prior = np.array(encoding.class_sampleable) * rng.uniform(0.2, 1, encoding.num_classes)
    arrays = {"probabilities": cells.astype(np.float32), "class_prior": prior}
    return Artifact(kind="mixture", config={}, arrays=arrays)


@pytest.mark.parametrize("draws", [0, 32])
@pytest.mark.parametrize("target", ["label", "size", "r", None])
def test_every_record_keeps_every_constraint(monkeypatch, target, draws):
    """Without a draw to spare, and without exact combinations, everything is repaired."""
    if not draws:
        monkeypatch.setattr(combined, "_MAX_CHANCES", 0)
    monkeypatch.setattr(enforce, "_MAX_DRAWS_PER_ROW", draws)
    monkeypatch.setattr(enforce, "_MIN_DRAWS", 0)
    tally = Tally()
    artifact = mixture(SCHEMA, target)
    (frame,) = sample_chunks(artifact, SCHEMA, target, 3000, seed=1, tally=tally)
    assert not any(violations(frame, SCHEMA).values())
    assert tally.rows == 3000 and tally.rejected > 0
    assert tally.repaired == 0 if draws else tally.repaired > 2900
    encoded = Encoding(SCHEMA, target).encode(frame)
    assert not any(encoded.clamped.values()) and not any(encoded.unknown.values())


ranges = st.tuples(st.integers(-10, 40), st.integers(-10, 40)).map(lambda pair: tuple(sorted(pair)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    target=st.sampled_from(["label", "b", None]),
    where=st.fixed_dictionaries(
        {},
        optional={
            "a": st.lists(st.one_of(st.none(), ranges, st.just(99)), min_size=1, max_size=3),
            "b": ranges,
            "r": st.one_of(ranges, st.just(100)),
            "out": st.sampled_from(["missing", "2020-02-01..", "2020-02-01..2020-02-03|missing"]),
            "label": st.sampled_from(["no", "yes|else", ["no", "yes"]]),
        },
    ),
)
def test_records_meet_all_conditions_or_it_is_said_why(seed, target, where):
    artifact = mixture(SCHEMA, target, seed=seed)
    try:
        frame = sample(artifact, SCHEMA, target, 200, where=where, seed=seed)
    except ConfigError as error:
        said = str(error)
        assert "meets the condition" in said or "contradict" in said
        return
    assert len(frame) == 200 and not any(violations(frame, SCHEMA).values())
    encoding = Encoding(SCHEMA, target)
    assert not any(encoding.encode(frame).clamped.values())
    if "a" in where:
        good = frame["a"].isna() & (None in where["a"])
        good |= (frame["a"] == 99) & (99 in where["a"])
        for low, high in (item for item in where["a"] if isinstance(item, tuple)):
            good |= frame["a"].between(low, high).fillna(False)
        assert good.all()
    if "b" in where:
        assert frame["b"].between(*where["b"]).all()
    if "r" in where:
        low, high = where["r"] if isinstance(where["r"], tuple) else (100, 100)
        assert frame["r"].between(low, high).all()
    if "out" in where:
        missing = frame["out"].isna()
        assert (
            (missing | (frame["out"] >= "2020-02-01")).all()
            and missing.any() == ("missing" in where["out"])
            or len(set(missing)) == 1
        )
    if "label" in where:
        asked = where["label"]
        assert set(frame["label"]) <= set(asked if isinstance(asked, list) else asked.split("|"))


@pytest.mark.parametrize("rejected", [True, False])
def test_rejection_gives_the_distribution_given_the_constraint(rejected, monkeypatch):
    """Chi-square of all pairs at 60,000 draws, p above 1e-4: one false alarm in 10,000 seeds.

    The twin repairs at once instead of drawing again.
    """
    columns = (
        Column("x", "integer", minimum=0, maximum=5),
        Column("y", "integer", minimum=0, maximum=5),
    )
    schema = Schema(columns, (Constraint("order", ("x", "y")),))
    artifact = mixture(schema, None, components=3, spread=1.0)
    p = artifact.arrays["probabilities"][0].astype(float)
    x, y = p[:, :6] / p[:, :6].sum(1, keepdims=True), p[:, 7:13] / p[:, 7:13].sum(1, keepdims=True)
    expected = np.triu(np.einsum("ka,kb->ab", x, y)).reshape(-1)
    if not rejected:
        monkeypatch.setattr(enforce, "_MAX_DRAWS_PER_ROW", 0)
        monkeypatch.setattr(enforce, "_MIN_DRAWS", 0)
    frame = sample(artifact, schema, None, 60_000, seed=1)
    found = np.bincount(frame["x"] * 6 + frame["y"], minlength=36)
    assert not found[expected == 0].any()
    wanted = expected[expected > 0] / expected.sum() * len(frame)
    p_value = chisquare(found[expected > 0], wanted, sum_check=False).pvalue
    assert bool(p_value > 1e-4) is rejected


def test_repair_changes_as_few_columns_as_can_be():
    """A record that already keeps the constraints is never touched, and nor is a column that may
    stay."""
    sampler = Sampler(mixture(SCHEMA, None), SCHEMA, None)
    rng = np.random.default_rng(1)
    sampler._exact = None
    rows = sampler._drawn(2000, rng)
    before, broken = rows.frame(), rows.broken()
    sampler._enforcer._repair(rows, rng)
    after = rows.frame()
    assert before[~broken].equals(after[~broken])
    names = ["state", "size", "label"]
    changed = (before[names] != after[names]).sum(axis=1)
    nearest = [
        min(sum(a != b for a, b in zip(record, row, strict=True)) for row in ROWS)
        for record in before[names].itertuples(index=False, name=None)
    ]
    assert changed.tolist() == nearest
    assert before["in"].equals(after["in"]) or (before["in"] != after["in"]).mean() < 0.1


def test_conditions_against_the_constraints_are_an_honest_error():
    artifact = mixture(SCHEMA, "label")
    with pytest.raises(ConfigError, match="the conditions contradict the schema's constraints"):
        sample(artifact, SCHEMA, "label", 50, where={"b": (20, 30), "r": (-3, 10)})
    with pytest.raises(
        ConfigError, match="combinations of state, size, label list none that meets"
    ):
        sample(artifact, SCHEMA, "label", 50, where={"state": "NY", "label": "yes"})
