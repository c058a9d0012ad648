"""The coordinator's rounds of a GAN of images: when a generator's turn comes, and what grows."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images.corrected import BASE
from fedloom.common.images.generator import generator_shapes
from fedloom.common.models.image_gan import SHOWN
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.private_model import read_weights
from fedloom.common.study import load_study
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.images.gan import ImageGanLearner
from fedloom.server.learners.learner import State, section, with_prefix

CLASSES = 11  # ten digits, and values outside the list


@pytest.fixture
def begun(tmp_path, study_at):
    """Makes a learner and its state after a look at nothing: every class is grey."""

    def make(settings="", rounds=""):
        path = study_at(tmp_path)
        model = f'kind = "image-gan"\nloss = "hinge"\nhidden = 16\nlatent = 2\n{settings}'
        text = path.read_text().replace('kind = "image-mixture"\n', model)
        path.write_text(text + f"[training]\nnum_rounds = 40\n{rounds}")
        study, schema = load_study(path)
        plan = resolve_plan(study, schema, version="0.1.0")
        learner = ImageGanLearner(plan.model, plan.training, plan.coder)
        sizes = generator_shapes(plan.coder.shape, CLASSES, coordinates=400, directions=1, groups=1)
        base = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
        base["weights"][:], levels = 1.0, np.linspace(0.0, 1.0, 257)
        for name in ("tone_places", "tone_values"):
            base[name][:] = levels
        net = read_weights(learner._fakes.network(last_std=0.3))
        arrays = {
            "class_prior": np.full(CLASSES, 1.0 / CLASSES),
            CENTRE: np.full((1, 8, 8), 0.5, np.float32),
            **with_prefix(base, BASE),
            **with_prefix(read_weights(learner._model.private_module()), "weights/"),
            **with_prefix(net, "net/"),
            **with_prefix(net, "average/"),
        }
        heads = learner._heads()
        if heads is not None:
            arrays |= with_prefix(read_weights(heads), "heads/")
        return learner, State(
            arrays=arrays, meta={"step": 0, "turns": 0, "waited": 0, "told": 0.0, "trust": 1.0}
        )

    return make


def played(learner, state, rounds, noise=0.0, bias=0.0):
    """Plays rounds whose sums are noise and whose critic's bias for every class is as given."""
    rng, turns = np.random.default_rng(0), []
    for number in range(rounds):
        state.arrays["weights/score.bias"] = np.full(16, bias, np.float32)
        sums = {
            name: noise * rng.standard_normal(size)
            for name, size in learner.answer_shapes().items()
        }
        before = state.meta["turns"]
        state = learner.update(state, sums, 100.0, seed=number)
        turns.append(state.meta["turns"] - before)
    return state, turns


def test_a_turn_comes_after_as_many_rounds_as_the_plan_says(begun):
    assert played(*begun(rounds="critic_steps = 3\n"), 7)[1] == [0, 0, 1, 0, 0, 1, 0]


def test_a_generator_waits_until_its_critic_tells_fakes_and_not_for_ever(begun):
    learner, state = begun("certainty = 0.9\n", "critic_steps = 1\n")
    # A critic that calls everything real is not certain, whatever a step changes.
    _, turns = played(learner, state, 21, bias=5.0)
    assert turns == [0] * 19 + [1, 0]
    assert played(learner, state, 3, bias=-5.0)[1] == [1, 1, 1]


def test_weights_of_what_is_not_shown_yet_are_not_moved_by_noise(begun):
    learner, state = begun("growth = 0.5\n")
    shown = learner.request_arrays(state)[SHOWN]
    after, _ = played(learner, state, 1, noise=10.0)
    old, new = (one.arrays["weights/reader.inner.weight"] for one in (state, after))
    moved = np.abs(new / np.linalg.norm(new) - old / np.linalg.norm(old)).max(axis=0)
    kept = moved[shown == 0.0]
    assert 0 < shown.sum() < 64 and kept.max() < 0.05 * moved[shown == 1.0].min() + 1e-3
    assert learner.request_arrays(played(learner, state, 20)[0])[SHOWN].sum() == 64


def test_what_is_not_shown_yet_is_not_written(begun):
    learner, state = begun("growth = 0.5\n")
    drawn = learner._many(state.arrays, learner._shown(state.meta), 0)
    told = learner._fakes._frequencies.of(drawn.images).numpy()
    hidden = learner.request_arrays(state)[SHOWN] == 0.0
    assert np.abs(told[:, hidden]).max() < 0.05 * np.abs(told[:, ~hidden]).max()


def test_heads_learn_with_the_generator(begun):
    learner, state = begun("class_weight = 1.0\ncode_weight = 1.0\ncodes = 2\n")
    after, _ = played(learner, state, 2)
    for name in ("net/", "heads/"):
        old, new = section(state.arrays, name), section(after.arrays, name)
        assert old.keys() == new.keys() and all((old[key] != new[key]).any() for key in old)
