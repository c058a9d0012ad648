import numpy as np
import pandas as pd
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.sampling import draw, sample, sample_chunks, sample_codes


def uniform(encoding):
    """A mixture of one component a class, uniform over all cells that may be synthesised."""
    probabilities = np.zeros((encoding.num_classes, 1, encoding.width), dtype=np.float32)
    for block in encoding.features:
        cells = slice(block.start, block.start + block.size)
        probabilities[:, :, cells] = np.array(block.sampleable) / sum(block.sampleable)
    prior = np.array(encoding.class_sampleable, dtype=float)
    prior[0] *= 3
    arrays = {"probabilities": probabilities, "class_prior": prior / prior.sum()}
    return Artifact(kind="mixture", config={}, arrays=arrays)


@pytest.fixture
def artifact(toy_schema):
    return uniform(Encoding(toy_schema, "label"))


def test_records_have_the_columns_of_the_schema_and_encode_back(artifact, toy_schema):
    frame = sample(artifact, toy_schema, "label", 500, seed=1)
    assert tuple(frame.columns) == toy_schema.names and len(frame) == 500
    encoded = Encoding(toy_schema, "label").encode(frame)
    assert not any(encoded.clamped.values()) and not any(encoded.unknown.values())


def test_classes_follow_the_prior(artifact, toy_schema):
    """Binomial with p = 0.75 at 4,000 draws within 4 standard errors: once in 15,000 seeds."""
    labels = sample(artifact, toy_schema, "label", 4000, seed=1)["label"]
    assert abs((labels == "no").mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


@pytest.mark.parametrize("value", ["yes", " yes"[1:]])
def test_a_condition_on_the_label_is_exact(artifact, toy_schema, value):
    frame = sample(artifact, toy_schema, "label", 300, where={"label": value}, seed=1)
    assert set(frame["label"]) == {"yes"}


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", True])
def test_a_condition_may_be_a_number(toy_schema, value):
    artifact = uniform(Encoding(toy_schema, "sex"))
    assert set(sample(artifact, toy_schema, "sex", 50, where={"sex": value})["sex"]) == {"1"}


def test_a_condition_on_a_group_of_a_numeric_target_is_exact(toy_schema):
    encoding = Encoding(toy_schema, "visits")
    label = encoding.class_labels[1]
    frame = sample(uniform(encoding), toy_schema, "visits", 300, where={"visits": label}, seed=1)
    assert set(encoding.classes(encoding.encode(frame).codes)) == {1}


@pytest.mark.parametrize(
    "where, message",
    [
        ({"label": "maybe"}, "known: no, yes$"),
        ({"town": "nort"}, "did you mean 'north'"),
        ({"sex": None}, "never missing"),
        ({"visits": "21.."}, "from 0 to 20"),
        ({"colour": "red"}, "it has sex, visits"),
    ],
)
def test_impossible_conditions_name_what_is_known(artifact, toy_schema, where, message):
    with pytest.raises(ConfigError, match=message):
        sample(artifact, toy_schema, "label", 5, where=where)


def test_without_a_target_conditions_are_on_features(toy_schema):
    artifact = uniform(Encoding(toy_schema, None))
    assert len(sample(artifact, toy_schema, None, 20, seed=1)) == 20
    frame = sample(artifact, toy_schema, None, 20, where={"label": "yes"}, seed=1)
    assert set(frame["label"]) == {"yes"}


@pytest.mark.parametrize("threads", [1, 3])
def test_a_seed_repeats_and_chunks_differ(artifact, toy_schema, monkeypatch, threads):
    monkeypatch.setattr(draw, "UNIT_ROWS", 100)
    chunks = list(sample_chunks(artifact, toy_schema, "label", 250, seed=1, threads=threads))
    assert [len(chunk) for chunk in chunks] == [100, 100, 50]
    assert not chunks[0].equals(chunks[1])
    whole = sample(artifact, toy_schema, "label", 250, seed=1)
    pd.testing.assert_frame_equal(whole, pd.concat(chunks, ignore_index=True))
    assert not whole.equals(sample(artifact, toy_schema, "label", 250, seed=2))
    assert not whole.equals(sample(artifact, toy_schema, "label", 250))


def test_an_abandoned_draw_stops(artifact, toy_schema, monkeypatch):
    monkeypatch.setattr(draw, "UNIT_ROWS", 100)
    chunks = sample_chunks(artifact, toy_schema, "label", 100_000, seed=1, threads=2)
    assert len(next(chunks)) == 100
    chunks.close()


def test_zero_rows_keep_columns_and_types(artifact, toy_schema):
    empty, full = (sample(artifact, toy_schema, "label", n, seed=1) for n in (0, 10))
    assert len(empty) == 0 and (empty.dtypes == full.dtypes).all()
    with pytest.raises(ConfigError, match="0 or more"):
        sample(artifact, toy_schema, "label", -1)


def test_codes_and_classes_come_together(artifact, toy_schema):
    encoding = Encoding(toy_schema, "label")
    codes, classes = sample_codes(artifact, encoding, 50, seed=1)
    assert codes.shape == (50, len(encoding.features)) and classes.shape == (50,)


def test_an_unknown_kind_is_refused(toy_schema, artifact):
    other = Artifact(kind="flow", config={}, arrays=artifact.arrays)
    with pytest.raises(ConfigError, match="mixture, tree, vae, gan"):
        sample(other, toy_schema, "label", 5)
