"""Votes for candidate images, from a study's file to a verified release."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import fedloom
from fedloom.client.plan_in_words import in_plain_words
from fedloom.common.artifact import Artifact
from fedloom.common.errors import StudyError
from fedloom.common.images import votes as vote_module
from fedloom.common.images.coder import PIXELS, ImageCoder
from fedloom.common.images.sampler import image_source
from fedloom.common.images.votes import VoteSum, nearest, vote_shapes
from fedloom.common.models.vote_settings import VoteSettings
from fedloom.common.study import load_study
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import opened_statistics
from fedloom.privacy.release.report.vote_sheets import vote_sheets
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.images.candidates import voting_design
from fedloom.server.images.votes import chosen, parts_of, shares_of, voted_arrays
from tests.images.conftest import digits_run

VOTES = "[model.votes]\nrounds = 2\ncandidates = 12\nshare = 0.2\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    """Four hundred digits at four sites, two rounds of votes."""
    return digits_run(tmp_path_factory.mktemp("votes"), digits, rows=400, more=VOTES)


@pytest.fixture(scope="module")
def release(run, tmp_path_factory):
    return run.release(tmp_path_factory.mktemp("release") / "release")


def resolved(path):
    study, schema = load_study(path)
    return resolve_plan(study, schema, version=fedloom.__version__)


def test_no_study_votes_that_does_not_ask_for_it(tmp_path, study_at):
    plan = resolved(study_at(tmp_path))
    assert not any("votes" in phase.name for phase in plan.phases)
    assert plan.model.to_dict() == {"kind": "image-mixture"}


def test_votes_take_their_share_of_the_budget_and_a_norm_of_one(tmp_path, study_at):
    plain, voting = resolved(study_at(tmp_path)), resolved(study_at(tmp_path, more=VOTES))
    sums, votes = voting.statistics[:7], voting.statistics[7:]
    assert [phase.statistic for phase in votes] == ["image-votes", "image-votes-2"]
    assert [phase.share for phase in votes] == pytest.approx([0.1, 0.1])
    for phase, before in zip(sums, plain.statistics, strict=True):
        assert phase.share == pytest.approx(0.8 * before.share)
        assert phase.noise_multiplier > before.noise_multiplier
    cells = 12 * voting.encoding.num_classes
    assert all(phase.l2_norm == 1.0 and phase.max_cells == cells for phase in votes)
    # All are Gaussians on every record: the noises of shares f and g are as the root of g / f.
    first, last = sums[0], votes[-1]
    ratio = np.sqrt(first.share / last.share)
    assert last.noise_multiplier == pytest.approx(ratio * first.noise_multiplier, rel=1e-3)
    assert voting.price().epsilon <= voting.privacy.epsilon
    assert voting.price().epsilon == pytest.approx(plain.price().epsilon, rel=1e-3)


def test_a_person_has_as_many_votes_as_rows(tmp_path, study_at):
    privacy = 'unit = "person"\nid = "who"\nrows_per_person = 3\n'
    plan = resolved(study_at(tmp_path, privacy=privacy, more=VOTES))
    assert [phase.l2_norm for phase in plan.statistics[7:]] == [3.0, 3.0]


@pytest.mark.parametrize(
    "change",
    [
        ("rounds = 2", "rounds = 4"),
        ("candidates = 12", "candidates = 1"),
        ("share = 0.2", "share = 0.95"),
        ("share = 0.2", 'simulator = "nowhere"'),
        ("share = 0.2", 'features = "nowhere"'),
        ("share = 0.2", 'simulator_from = "some 1.0"'),
        ("share = 0.2", f'weights = "{"ab" * 32}"'),
    ],
)
def test_votes_that_cannot_be_are_refused(tmp_path, study_at, change):
    with pytest.raises(StudyError):
        resolved(study_at(tmp_path, more=VOTES.replace(*change)))


def test_candidates_that_no_request_can_carry_are_refused(tmp_path, study_at):
    from tests.images.conftest import SCHEMA

    named = ", ".join(f'"{number}"' for number in range(200))
    schema = SCHEMA.replace("height = 8", "height = 64").replace("width = 8", "width = 64")
    schema = f"{schema.split('values = ')[0]}values = [{named}]\n"
    few, many = (VOTES.replace("= 12", f"= {number}") for number in (12, 2000))
    resolved(study_at(tmp_path, more=few, schema=schema))
    with pytest.raises(StudyError, match="candidates"):
        resolved(study_at(tmp_path, more=many, schema=schema))


def test_other_kinds_of_model_take_no_votes(tmp_path, study_at):
    path = study_at(tmp_path, more=VOTES)
    path.write_text(path.read_text().replace("image-mixture", "image-vae"))
    with pytest.raises(StudyError, match="votes"):
        load_study(path)


def coder_of(schema, **changes):
    settings = {"candidates": 4, **changes}
    return ImageCoder(schema, "digit", VoteSettings(**settings))


def records(coder, images):
    features = np.zeros(len(images), dtype=coder.record_type)
    features[PIXELS] = images
    return features


def test_a_record_votes_for_the_nearest_of_its_class_and_once(schema):
    """By angles between pixels, by brute force: eight by eight images have all frequencies."""
    coder, rng = coder_of(schema), np.random.default_rng(0)
    shape, kind = vote_shapes(coder)["candidates"]
    candidates = rng.integers(0, 256, shape).astype(kind)
    images = rng.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    classes = rng.integers(0, 10, 40)
    asked = VoteSum(coder, {"candidates": candidates})
    counts = asked.sum(records(coder, images), classes).reshape(shape[:2])
    expected = np.zeros(shape[:2], int)
    for image, label in zip(images.astype(float), classes, strict=True):
        like = [
            float((image * other).sum()) / float(np.linalg.norm(other))
            for other in candidates[label].astype(float)
        ]
        expected[label, int(np.argmax(like))] += 1
    np.testing.assert_array_equal(counts, expected)
    assert counts.sum() == 40


@pytest.mark.parametrize("image", [0, 255, 128])
def test_whatever_an_image_holds_it_adds_a_norm_of_one(schema, image):
    """The most that any record adds, over extreme images and candidates, by brute force."""
    coder, rng = coder_of(schema), np.random.default_rng(image)
    shape, kind = vote_shapes(coder)["candidates"]
    of = rng.integers(0, 2, shape) * 255
    for candidates in (of, np.zeros(shape), np.full(shape, 255)):
        asked = VoteSum(coder, {"candidates": candidates.astype(kind)})
        others = rng.integers(0, 256, (9, 8, 8, 1)).astype(np.uint8)
        classes = rng.integers(0, 10, 10)
        images = np.concatenate([np.full((1, 8, 8, 1), image, np.uint8), others])
        with_it = asked.sum(records(coder, images), classes)
        change = with_it - asked.sum(records(coder, others), classes[1:])
        assert np.linalg.norm(change) == asked.l2_norm == 1.0


def test_of_equally_near_candidates_the_first_has_the_vote():
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    candidates = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    assert nearest(points, candidates).tolist() == [0, 0]
    assert nearest(points, candidates[::-1]).tolist() == [0, 1]


def test_a_vote_does_not_depend_on_the_other_records(schema):
    coder, rng = coder_of(schema), np.random.default_rng(3)
    shape, kind = vote_shapes(coder)["candidates"]
    # Many near ties: candidates differ by one level of one pixel.
    candidates = np.full(shape, 100, kind)
    candidates[:, np.arange(4), np.arange(4), 0, 0] += 1
    asked = VoteSum(coder, {"candidates": candidates})
    images = rng.integers(99, 103, (2500, 8, 8, 1)).astype(np.uint8)
    classes = rng.integers(0, 10, 2500)
    crowd, total = records(coder, images), np.zeros(asked.length, int)
    for size in (1, 3, 1025, 1471):
        rows, crowd, classes_left = crowd[:size], crowd[size:], classes[size:]
        total += asked.sum(rows.copy(), classes[:size])
        classes = classes_left
    whole = np.random.default_rng(3)
    images = whole.integers(99, 103, (2500, 8, 8, 1)).astype(np.uint8)
    classes = whole.integers(0, 10, 2500)
    np.testing.assert_array_equal(total, asked.sum(records(coder, images), classes))


def test_counts_without_noise_become_shares_that_keep_their_sum():
    rng = np.random.default_rng(1)
    for _ in range(50):
        votes = rng.normal(2.0, 5.0, 12)
        shares = shares_of(votes, 0.0)
        assert (shares >= 0.0).all() and shares.sum() == pytest.approx(1.0)
        if votes.sum() > 0.0:
            # The nearest such counts: of any two that are kept the difference stays.
            kept = shares > 0.0
            moved = shares[kept] * votes.sum() - votes[kept]
            np.testing.assert_allclose(moved, moved[0], atol=1e-9)
            assert votes[~kept].max(initial=-np.inf) <= votes[kept].min()
    np.testing.assert_allclose(shares_of(np.array([-1.0, -2.0]), 0.0), 0.5)


def test_noise_alone_chooses_no_candidate_and_little_of_it_changes_nothing():
    rng = np.random.default_rng(2)
    for truth, most in ((np.full(40, 5.0), 0.3), (np.r_[np.full(30, 2.0), np.full(10, 60.0)], 1.1)):
        raw, found = 0.0, 0.0
        for _ in range(100):
            votes = truth + rng.normal(0.0, 6.0, 40)
            expected = truth / truth.sum()
            raw += ((np.maximum(votes, 0.0) / np.maximum(votes, 0.0).sum() - expected) ** 2).sum()
            found += ((shares_of(votes, 6.0) - expected) ** 2).sum()
        assert found < most * raw


def test_parts_of_classes_are_right_where_noise_is_small_and_nothing_where_it_is_all():
    rng = np.random.default_rng(3)
    truth = np.concatenate([np.full((10, 20), 30.0), np.full((10, 20), 10.0)], axis=1)
    truth[0] = [*[10.0] * 20, *[30.0] * 20]
    parts = parts_of(truth + rng.normal(0.0, 1.0, truth.shape), 1.0)
    np.testing.assert_allclose(parts, [0.75, *[0.25] * 9], atol=0.03)
    # A simulator that nobody votes for: noise gives it little, though no part is below 0.
    truth = np.concatenate([np.full((10, 20), 4.0), np.zeros((10, 20))], axis=1)
    told = [parts_of(truth + rng.normal(0.0, 4.0, truth.shape), 4.0).mean() for _ in range(200)]
    cut = [
        np.maximum(np.sum(rng.normal(0.0, 4.0, (10, 20)), axis=1) / 80.0, 0.0).mean()
        for _ in range(200)
    ]
    assert np.mean(told) < 0.5 * np.mean(cut)


def test_candidates_are_chosen_as_often_as_their_shares_say_to_one():
    shares = np.array([0.05, 0.0, 0.6, 0.35])
    for seed in range(20):
        counts = np.bincount(chosen(shares, 40, np.random.default_rng(seed)), minlength=4)
        assert (np.abs(counts - 40 * shares) < 1.0).all()


def test_what_votes_say_of_the_mixture_stays_the_mixtures():
    candidates = np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 1)).astype(np.uint8)
    votes = np.array([[30.0, 30.0, 20.0, 20.0], [5.0, -5.0, -1.0, -2.0]])
    arrays = voted_arrays(candidates, votes, 0.0, 0.5)
    np.testing.assert_allclose(arrays["voted_weights"][0], [0.2, 0.2])
    np.testing.assert_array_equal(arrays["voted_weights"][1], [0.0, 0.0])
    np.testing.assert_allclose(arrays["voted_images"] * 255.0, candidates[:, 2:], atol=1e-4)


def test_a_release_with_votes_verifies_and_is_fitted_again(run, release):
    assert run.epsilon <= 20.0
    fedloom.Release(release).verify(refit=True)
    statement = json.loads((release / "dp_statement.json").read_text())
    assert [line["releases"] for line in statement["mechanisms"]][-2:] == [
        "image-votes",
        "image-votes-2",
    ]
    assert statement["mechanisms"][-1]["l2_sensitivity"] == 1.0


def opened_rounds(run):
    numbers = range(1, len(run.plan.statistics) + 1)
    return [OpenedRound.load(run.path / answer_path(number)) for number in numbers]


def test_the_candidates_of_each_round_follow_from_the_answers_before_it(run):
    """So a run that is resumed asks the same question, and anybody can see what was asked."""
    opened = opened_rounds(run)
    for number in (8, 9):
        asked = run.plan.rounds[number - 1]
        design = voting_design(run.plan, asked, opened[: number - 1])
        sent = opened[number - 1].request_arrays
        np.testing.assert_array_equal(design.arrays["candidates"], sent["candidates"])
    # Of the second half, every image is a copy of one before, or a varied one.
    first, second = (one.request_arrays["candidates"][:, 6:] for one in opened[-2:])
    kept = [
        any((image == other).all() for other in before)
        for before, after in zip(first, second, strict=True)
        for image in after
    ]
    assert 0.1 < np.mean(kept) <= 1.0


def test_the_generator_draws_voted_images_as_often_as_the_votes_say(run, release):
    artifact = Artifact.load(release / "generator")
    assert artifact.config["voted"] == 6
    weights = artifact.arrays["voted_weights"]
    assert weights.shape == (run.plan.encoding.num_classes, 6)
    only = dict(artifact.arrays)
    only["voted_weights"] = np.zeros_like(weights)
    only["voted_weights"][3, 2] = 1.0
    only["warp"] = np.zeros(1, np.float32)
    source = image_source(
        Artifact(kind="image-mixture", config=artifact.config, arrays=only),
        run.plan.coder.shape,
    )
    drawn = source.draw(np.array([3, 3, 4]), np.random.default_rng(0))
    level = np.rint(only["voted_images"][3, 2] * 255.0)
    np.testing.assert_array_equal(drawn[0], level)
    np.testing.assert_array_equal(drawn[1], level)
    assert (drawn[2] != level).any()


def test_the_report_shows_the_candidates_that_won(release):
    page = (release / "report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 20
    assert len(re.findall(r"\d\.\d\d ± \d\.\d\d", page)) >= 10


def test_a_part_of_votes_and_its_noise_by_a_closed_form(run):
    """The noise of a ratio, against drawing it."""
    opened = opened_statistics(run.plan, opened_rounds(run))
    last = opened.votes[-1]
    votes = last.values().reshape(-1, 12)[0]
    drawn = votes + np.random.default_rng(0).normal(0.0, last.stds[0], (20_000, 12))
    parts = drawn[:, 6:].sum(axis=1) / drawn.sum(axis=1)
    found = vote_sheets(opened)[0]
    assert found.sheet.label == "0" and found.sheet.count == 6
    assert found.part == pytest.approx(votes[6:].sum() / votes.sum())
    assert found.std == pytest.approx(parts.std(), rel=0.1)


def test_a_steward_reads_what_records_vote_for(run):
    words = "\n".join(in_plain_words(run.plan, site="east"))
    assert "12 candidate images" in words and "2 rounds" in words


def test_features_of_few_records_are_in_memory_at_once(schema, monkeypatch):
    """However many a site has, and however many numbers an embedding gives."""
    coder, rng, seen = coder_of(schema), np.random.default_rng(0), []
    shape, kind = vote_shapes(coder)["candidates"]
    images = rng.integers(0, 256, (3000, 8, 8, 1)).astype(np.uint8)
    asked = VoteSum(coder, {"candidates": rng.integers(0, 256, shape).astype(kind)})
    honest = vote_module.nearest

    def counted(points, candidates):
        seen.append(len(points))
        return honest(points, candidates)

    monkeypatch.setattr(vote_module, "nearest", counted)
    counts = asked.sum(records(coder, images), np.repeat([0, 1], [2900, 100]))
    assert counts.sum() == sum(seen) == 3000 and max(seen) < 1500
