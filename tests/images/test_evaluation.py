"""`evaluate` on held-back images: what a record adds, what a request may hold, a whole study."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import fedloom
from fedloom.common.errors import ConfigError
from fedloom.common.images.coder import CODES, PIXELS, ImageCoder
from fedloom.common.images.scores import MAX_PIXEL_WEIGHT, ImageScores
from fedloom.common.schema import Schema
from fedloom.common.scores import BINS
from fedloom.privacy.noise import NoiseSource
from tests.audited import allowed
from tests.images.conftest import AGE, SCHEMA, SITES, digits_run
from tests.images.test_audit import NOISE, SMALL, TRIALS, TRIALS_OF_TWINS, tables
from tests.mu_audit import Audit, claimed_mu

UNIT = 2.0**-23
HELD_BACK = "[evaluation]\nshare = 0.2\nhold_back = 0.3\n"


def measured_of(folder, text: str = SCHEMA + AGE) -> ImageScores:
    path = folder / "schema.toml"
    path.write_text(text)
    return ImageScores(ImageCoder(Schema.load(path), "digit"))


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> ImageScores:
    return measured_of(tmp_path_factory.mktemp("schema"))


def records(measured: ImageScores, count: int, rng: np.random.Generator):
    features = np.zeros(count, dtype=f"({len(measured.encoding.features)},)i4,(8, 8, 1)u1")
    for position, block in enumerate(measured.encoding.features):
        features[CODES][:, position] = rng.integers(0, block.size, count)
    features[PIXELS] = rng.integers(0, 256, features[PIXELS].shape)
    return features, rng.integers(0, measured.encoding.num_classes, count)


def request(measured: ImageScores, rng: np.random.Generator, most: int = 5_000):
    made = {
        name: np.zeros(shape, dtype=type_)
        for name, (shape, type_) in measured.request_arrays().items()
    }
    made["questions"] += rng.integers(-1, 2, made["questions"].shape).astype(np.int32)
    made["weights"] += rng.normal(0, 0.3, made["weights"].shape).astype(np.float32)
    made["pixels"] += rng.integers(-most, most + 1, made["pixels"].shape).astype(np.int32)
    made["edges"] += np.sort(rng.normal(0, 1, made["edges"].shape), axis=1).astype(np.float32)
    measured.check(made)
    return made


def test_scores_are_counted_as_arithmetic_with_whole_numbers_counts_them(measured):
    rng = np.random.default_rng(2)
    features, classes = records(measured, 300, rng)
    arrays = request(measured, rng)
    expected = np.zeros((measured.num_questions, 2, BINS), dtype=np.int64)
    for record, label in zip(features, classes, strict=True):
        for question in range(measured.num_questions):
            weights = arrays["weights"][question]
            score = float(weights[-1])
            for block, code in zip(measured.encoding.features, record[CODES], strict=True):
                score += float(weights[block.start + code])
            levels = [int(value) for value in record[PIXELS].reshape(-1)]
            units = [int(value) for value in arrays["pixels"][question].reshape(-1)]
            score += sum(a * b for a, b in zip(levels, units, strict=True)) * UNIT
            answer = arrays["questions"][question, label]
            if answer >= 0:
                bin_ = int(np.searchsorted(arrays["edges"][question], score, side="right"))
                expected[question, answer, bin_] += 1
    found = measured.split(measured.join(measured.sums(features, classes, arrays)))
    np.testing.assert_array_equal(found["scores"], expected)


def test_a_score_does_not_depend_on_the_other_records(measured):
    rng = np.random.default_rng(4)
    features, _ = records(measured, 64, rng)
    arrays = request(measured, rng, MAX_PIXEL_WEIGHT)
    together = measured.scores(features, arrays, 3)
    alone = [measured.scores(features[i : i + 1], arrays, 3)[0] for i in range(len(features))]
    assert together.tolist() == alone


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), light=st.sampled_from([0, 1, 255]))
def test_a_record_adds_at_most_one_to_a_question_and_one_to_each_column(measured, seed, light):
    rng = np.random.default_rng(seed)
    features, classes = records(measured, 1, rng)
    features[PIXELS] = np.minimum(features[PIXELS], light)
    sums = measured.sums(features, classes, request(measured, rng, MAX_PIXEL_WEIGHT))
    for histogram in measured.histograms:
        assert np.linalg.norm(sums[histogram.name]) <= histogram.l2_norm + 1e-12


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels[:, :7],
        lambda pixels: pixels.astype(np.float32),
        lambda pixels: np.full_like(pixels, MAX_PIXEL_WEIGHT + 1),
        lambda pixels: np.full_like(pixels, np.iinfo(np.int32).min),
        lambda pixels: None,
    ],
)
def test_a_request_with_other_weights_of_pixels_is_refused(measured, change):
    arrays = request(measured, np.random.default_rng(1))
    arrays["pixels"] = change(arrays["pixels"])
    if arrays["pixels"] is None:
        del arrays["pixels"]
    with pytest.raises(ConfigError, match="pixels|evaluate"):
        measured.check(arrays)


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    """The digits at four sites, three in ten held back."""
    return digits_run(tmp_path_factory.mktemp("study"), digits, rows=1797, more=HELD_BACK)


def test_held_back_images_are_told_apart_as_an_independent_regression_tells_them(run, digits):
    """Its training images are other draws, and the test is on all records, so within .05."""
    drawn = run.sample(4000, seed=9)
    flat = np.stack([image.reshape(-1) / 255.0 for image in drawn["image"]])
    labels = drawn["digit"].astype(str).to_numpy()
    real = digits["image"].reshape(-1, 64) / 255.0
    figures = json.loads((run.path / "evaluation.json").read_text())["figures"]
    assert len(figures["questions"]) == 10
    for digit, question in enumerate(figures["questions"]):
        assert question["asks_for"] == [str(digit)]
        oracle = LogisticRegression(max_iter=300).fit(flat, labels == str(digit))
        expected = roc_auc_score(digits["digit"] == str(digit), oracle.decision_function(real))
        found = question["held_back"]
        assert found["auc"] == pytest.approx(expected, abs=0.05 + 5 * found["std"])
    areas = [question["held_back"]["auc"] for question in figures["questions"]]
    assert np.mean(areas) > 0.75
    assert figures["records"]["estimate"] == pytest.approx(0.3 * 1797, abs=120)


def test_a_release_with_scores_of_images_verifies(run, tmp_path):
    release = run.release(tmp_path / "release")
    fedloom.Release(release).verify()
    assert "held back" in (release / "report.html").read_text()


@pytest.fixture
def plan(tmp_path, study_at):
    """A plan of one site whose histograms have two thirds of their sensitivity as noise."""
    from fedloom.common.study import load_study
    from fedloom.privacy.resolve import assemble, drafts_of

    path = study_at(tmp_path, schema=SMALL, more=HELD_BACK)
    text = path.read_text()
    for site in SITES[1:]:
        text = text.replace(f'[[site]]\nname = "{site}"\n', "")
    path.write_text(text)
    study, schema = load_study(path)
    study = study.with_keys({"east": ("11" * 32, "22" * 32)}).with_coordinator("33" * 32)
    phases = [draft.at(2 * NOISE) for draft in drafts_of(study, schema)]
    return assemble(study, schema, phases, version=fedloom.__version__)


def audit(plan) -> Audit:
    coder, number = plan.coder, len(plan.rounds)
    arrays = request(ImageScores(coder), np.random.default_rng(5))
    arrays["questions"] = np.eye(3, 4, dtype=np.int32)
    return Audit(
        plan=plan,
        requests=(allowed(plan, number, arrays=arrays),),
        tables=tables(plan, held_back=True),
        claim=claimed_mu(plan.rounds[number - 1].event),
    )


def test_histograms_give_away_what_is_claimed_and_no_more(plan):
    assert 0.8 < audit(plan).run(TRIALS).reached <= 1.0


def test_half_the_noise_is_caught(plan, monkeypatch):
    honest = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: honest(self, n, std / 2))
    found = audit(plan).run(TRIALS_OF_TWINS)
    assert found.bound > found.claim


def test_a_record_that_counts_by_its_light_is_caught(plan, monkeypatch):
    honest = ImageScores._question

    def by_light(self, features, classes, arrays, number):
        lit = 1 + (features[PIXELS].reshape(len(features), -1).max(axis=1) == 255)
        return honest(self, np.repeat(features, lit), np.repeat(classes, lit), arrays, number)

    monkeypatch.setattr(ImageScores, "_question", by_light)
    found = audit(plan).run(TRIALS_OF_TWINS)
    assert found.bound > found.claim
