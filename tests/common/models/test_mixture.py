from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.mixture import Mixture
from fedloom.common.schema import Column, Schema


@pytest.fixture
def encoding():
    return Encoding(
        Schema(
            (
                Column("a", "category", values=("x", "y", "z")),
                Column("b", "integer", minimum=0, maximum=3),
                Column("t", "category", values=("0", "1")),
            )
        ),
        "t",
    )


@pytest.fixture
def artifact(encoding):
    rng = np.random.default_rng(20260101)
    probabilities = rng.gamma(0.5, size=(encoding.num_classes, 5, encoding.width))
    for block in encoding.features:
        part = probabilities[:, :, block.start : block.start + block.size]
        part *= block.sampleable
        part /= part.sum(axis=2, keepdims=True)
    return Artifact(
        kind="mixture",
        config={},
        arrays={
            "probabilities": probabilities.astype(np.float32),
            "class_prior": np.array([0.5, 0.5, 0.0]),
        },
    )


def only(encoding, label):
    """A condition on the label `t`."""
    return {"t": np.eye(encoding.num_classes)[label]}


@pytest.mark.parametrize("wrong_class", [False, True])
def test_pairs_of_codes_have_the_mixture_frequencies(encoding, artifact, wrong_class):
    """Worst cell within 5 standard errors at 200,000 draws: below one false alarm in 10,000."""
    rows = 200_000
    mixture, _ = Mixture.of(artifact, encoding).conditioned(only(encoding, int(wrong_class)))
    codes, _ = mixture.draw(rows, np.random.default_rng(3))
    first, second = encoding.features
    p = artifact.arrays["probabilities"][0].astype(float)
    expected = (
        p[:, first.start : first.start + first.size].T
        @ p[:, second.start : second.start + second.size]
        / len(p)
    )
    cells = codes[:, 0] * second.size + codes[:, 1]
    found = np.bincount(cells, minlength=expected.size).reshape(expected.shape) / rows
    error = np.abs(found - expected) / np.sqrt(expected * (1 - expected) / rows + 1e-12)
    assert bool(error.max() < 5) is not wrong_class


def joint(encoding, artifact):
    """The probability of every record (3, 4, 2), by enumeration; b has no special value."""
    p = artifact.arrays["probabilities"][:2].astype(float)
    first, second = (p[:, :, b.start : b.start + b.num_bins] for b in encoding.features)
    return np.einsum("cka,ckb->abc", first, second) * 0.5 / p.shape[1]


@pytest.mark.parametrize("reweighted", [True, False])
def test_conditional_draws_are_those_of_enumeration(encoding, artifact, reweighted):
    """Chi-square of all cells at 100,000 draws, p above 1e-4: one false alarm in 10,000 seeds.

    The twin cuts the columns and leaves the components' weights as they were.
    """
    shares = {"a": np.array([0.5, 1, 0, 0]), "b": np.array([0, 1, 0.25, 1, 0])}
    mixture = Mixture.of(artifact, encoding)
    given, probability = mixture.conditioned(shares)
    expected = joint(encoding, artifact)
    expected *= shares["a"][:3, None, None] * shares["b"][None, :4, None]
    assert probability == pytest.approx(expected.sum(), rel=1e-5)
    if not reweighted:
        given = replace(given, weights=mixture.weights)
    codes, classes = given.draw(100_000, np.random.default_rng(7))
    cells = np.ravel_multi_index((*codes.T, classes), (3, 4, 2))
    found = np.bincount(cells, minlength=24)
    possible = expected.reshape(-1) > 0
    assert not found[~possible].any()
    wanted = expected.reshape(-1)[possible] / expected.sum() * len(codes)
    p_value = chisquare(found[possible], wanted, sum_check=False).pvalue
    assert bool(p_value > 1e-4) is reweighted


def test_a_condition_without_a_chance_gives_nothing(encoding, artifact):
    assert Mixture.of(artifact, encoding).conditioned({"a": np.zeros(4)}) == (None, 0.0)


def test_codes_of_probability_zero_are_never_drawn(encoding, artifact):
    codes, classes = Mixture.of(artifact, encoding).draw(40_000, np.random.default_rng(3))
    assert set(classes) == {0, 1}
    for position, block in enumerate(encoding.features):
        drawn = np.bincount(codes[:, position], minlength=block.size) > 0
        assert not (drawn & ~np.array(block.sampleable)).any() and codes.dtype == np.int32


def test_a_seed_repeats_the_draw(encoding, artifact):
    mixture = Mixture.of(artifact, encoding)
    first, again, other = (mixture.draw(100, np.random.default_rng(s))[0] for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_records_can_be_drawn(encoding, artifact):
    none, _ = Mixture.of(artifact, encoding).draw(0, np.random.default_rng(3))
    assert none.shape == (0, 2)


def test_another_schema_is_refused(artifact):
    other = Encoding(Schema((Column("a", "category", values=("x", "y")),)), None)
    with pytest.raises(ConfigError, match="use the schema that it was made with"):
        Mixture.of(artifact, other)


def test_a_numeric_target_is_cut_to_the_class():
    """Mass outside a component's class goes evenly to the class's cells, as decoding does."""
    schema = Schema(
        (
            Column("a", "category", values=("x", "y")),
            Column("n", "integer", minimum=1, maximum=20),
        )
    )
    encoding = Encoding(schema, "n")
    block = encoding.features[1]
    probabilities = np.full((encoding.num_classes, 1, encoding.width), 0.05)
    mixture = Mixture.from_parts(encoding, np.ones(encoding.num_classes), probabilities)
    part = mixture.cells[:, block.start : block.start + 20]
    np.testing.assert_allclose(part[3], np.repeat(np.eye(10)[3], 2) / 2, atol=1e-6)
    codes, classes = mixture.draw(500, np.random.default_rng(1))
    assert (encoding.class_of_cell[codes[:, 1]] == classes).all()
