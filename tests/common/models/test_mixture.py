import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.mixture import sample_codes
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


@pytest.mark.parametrize("wrong_class", [False, True])
def test_pairs_of_codes_have_the_mixture_frequencies(encoding, artifact, wrong_class):
    """Worst cell within 5 standard errors at 200,000 draws: below one false alarm in 10,000."""
    rows = 200_000
    codes = sample_codes(artifact, encoding, np.full(rows, int(wrong_class)), seed=3)
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


def test_codes_of_probability_zero_are_never_drawn(encoding, artifact):
    codes = sample_codes(artifact, encoding, np.tile([0, 1], 20_000), seed=3)
    for position, block in enumerate(encoding.features):
        drawn = np.bincount(codes[:, position], minlength=block.size) > 0
        assert not (drawn & ~np.array(block.sampleable)).any() and codes.dtype == np.int32


def test_a_seed_repeats_the_draw(encoding, artifact):
    classes = np.tile([0, 1], 50)
    first = sample_codes(artifact, encoding, classes, seed=3)
    np.testing.assert_array_equal(first, sample_codes(artifact, encoding, classes, seed=3))
    assert (first != sample_codes(artifact, encoding, classes, seed=4)).any()


def test_no_records_can_be_drawn(encoding, artifact):
    none = sample_codes(artifact, encoding, np.empty(0, dtype=np.int64), seed=3)
    assert none.shape == (0, 2)


def test_another_schema_is_refused(artifact):
    other = Encoding(Schema((Column("a", "category", values=("x", "y")),)), None)
    with pytest.raises(ConfigError, match="use the schema that it was made with"):
        sample_codes(artifact, other, np.zeros(3, dtype=np.int64), seed=3)
