"""White-box audits of `client.queries.answer_arrays`: the query `train` of both models.

The attacker holds the weights after all steps, and the claim is that of an attacker who sees every
step. With plain steps the last weights are the sum of all noised gradients, and nothing is lost.
Adam keeps one number a coordinate of two moments over the steps: after two steps that number still
tells the sign of the sum of both gradients, which is the best test there is, so the audit
takes two. After more steps it no longer does (the last test has numbers): what is left is room of
the optimiser, not of the mechanism, and nothing that a claim may count on.

`tests.mu_audit` says how, `tests.crafted_weights` at which weights. A bound is above the true mu
with probability at most 0.001 over seeds; seeds are fixed. A bound must reach 75% of the claim,
which is mu of the plan's own event, and must not exceed it. The twins each have one bug built in,
and their bounds must exceed it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

import fedloom.privacy.mechanisms.private_training as training_module
from fedloom.privacy.noise import NoiseSource
from tests.audit_cases import guess_of_two_adam_steps, training_audit, training_plan
from tests.audited import ROWS_PER_PERSON

TRIALS = 500
TRIALS_OF_QUICK_ONES = 300
TRIALS_OF_TWINS = 100
STEPS = {"sgd": 3, "adam": 2}
CLAIM = 3.3
slow = pytest.mark.slow


@pytest.fixture
def plan_of(folder):
    """Makes the plan of a model whose rounds train at the sites."""

    def made(model, optimizer="sgd", engine="fused", **options):
        steps = STEPS[optimizer]
        text = f'optimizer = "{optimizer}"\nengine = "{engine}"\nlocal_steps = {steps}\n'
        noise = math.sqrt(steps) / CLAIM
        text += "learning_rate = 0.001\nnum_rounds = 1\n"
        more = {"training": text, "noise": noise, **options}
        return training_plan(folder, model, exchange="weights", **more)

    return made


@pytest.mark.parametrize(
    "model, optimizer, engine, unit",
    [
        ("gan", "adam", "fused", "record"),
        pytest.param("vae", "sgd", "fused", "record", marks=slow),
        pytest.param("vae", "sgd", "fused", "person", marks=slow),
        pytest.param("vae", "sgd", "opacus", "record", marks=slow),
        pytest.param("vae", "adam", "fused", "record", marks=slow),
        pytest.param("vae", "adam", "opacus", "record", marks=slow),
        pytest.param("gan", "sgd", "fused", "record", marks=slow),
        pytest.param("gan", "sgd", "opacus", "record", marks=slow),
        pytest.param("gan", "adam", "fused", "person", marks=slow),
        pytest.param("gan", "adam", "opacus", "record", marks=slow),
    ],
)
def test_training_gives_away_what_is_claimed_and_no_more(
    request, home, plan_of, tell, model, optimizer, engine, unit
):
    persons = unit == "person"
    plan = plan_of(model, optimizer, engine, persons=persons)
    audit = training_audit(home, plan, rows=5 if persons else 1)
    assert audit.claim == pytest.approx(CLAIM)
    steps = f"{STEPS[optimizer]} steps of {optimizer}"
    quick = request.node.get_closest_marker("slow") is None
    trials = TRIALS_OF_QUICK_ONES if quick else TRIALS
    found = tell(f"train {model}, {steps}, {engine}, {unit}", audit.run(trials))
    assert 0.75 < found.reached <= 1.0


def caught(audit) -> bool:
    found = audit.run(TRIALS_OF_TWINS)
    return found.bound > found.claim


@pytest.mark.parametrize(
    "model, optimizer, engine",
    [
        ("gan", "adam", "fused"),
        pytest.param("vae", "sgd", "fused", marks=slow),
        pytest.param("vae", "sgd", "opacus", marks=slow),
    ],
)
def test_half_the_noise_is_caught(home, plan_of, monkeypatch, model, optimizer, engine):
    whole = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: whole(self, n, std / 2))
    assert caught(training_audit(home, plan_of(model, optimizer, engine)))


def changing(monkeypatch, **settings):
    honest = training_module.clipped_gradient_sum

    def broken(*args, **more):
        return honest(*args, **{**more, **settings})

    monkeypatch.setattr(training_module, "clipped_gradient_sum", broken)


@pytest.mark.parametrize("model", ["vae", pytest.param("gan", marks=slow)])
def test_a_skipped_clip_is_caught(home, plan_of, monkeypatch, model):
    changing(monkeypatch, max_grad_norm=1e6)
    assert caught(training_audit(home, plan_of(model)))


@pytest.mark.parametrize("model", ["gan", pytest.param("vae", marks=slow)])
def test_rows_of_a_person_clipped_one_by_one_are_caught(home, plan_of, monkeypatch, model):
    changing(monkeypatch, persons=None)
    audit = training_audit(home, plan_of(model, persons=True), rows=ROWS_PER_PERSON)
    assert caught(audit)


def adams_weight(gradients):
    """Adam's weight after steps along `gradients` (steps, runs), in units of the learning rate.

    Source: Kingma & Ba 2014 (arXiv:1412.6980), algorithm 1; its epsilon is far below a gradient.
    """
    first = second = weight = np.zeros(gradients.shape[1])
    for step, gradient in enumerate(gradients, start=1):
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weight = weight - first / (1 - 0.9**step) / np.sqrt(second / (1 - 0.999**step))
    return weight


def weights_without_and_with(steps, runs):
    """Weights of the audit's one coordinate: half a clip either way, at noise of the same claim."""
    rng = np.random.default_rng(20_261_128)
    noise = rng.normal(0.0, math.sqrt(steps) / CLAIM, (2, steps, runs))
    return adams_weight(noise[0] + 0.5), adams_weight(noise[1] - 0.5)


def best_mu(without, with_it):
    """The mu of the best test of weights: by likelihood ratio, cut where that pays most."""
    cells = np.linspace(min(without.min(), with_it.min()), max(without.max(), with_it.max()), 400)
    half = len(without) // 2
    seen = [np.histogram(part[:half], cells)[0] + 1.0 for part in (without, with_it)]
    ratio = np.log(seen[1] / seen[0])
    scores = [ratio[np.digitize(part[half:], cells[1:-1])] for part in (without, with_it)]
    found = 0.0
    for cut in np.linspace(-3.0, 3.0, 61):
        false, missed = (scores[0] > cut).mean(), (scores[1] <= cut).mean()
        if min(false, missed) > 1e-3:
            found = max(found, scipy.stats.norm.isf(false) - scipy.stats.norm.ppf(missed))
    return float(found)


@pytest.mark.parametrize("steps, part", [(1, 1.0), (2, 1.0), (3, 0.87), (5, 0.82), (20, 0.82)])
def test_what_the_last_weights_of_adam_still_tell_of_the_claim(steps, part):
    """Of a simulation of that coordinate alone, without fedloom."""
    without, with_it = weights_without_and_with(steps, 400_000)
    assert best_mu(without, with_it) / CLAIM == pytest.approx(part, abs=0.02)


def test_the_guess_from_two_steps_of_adam_is_the_sign_of_the_sum_of_gradients():
    gradients = np.random.default_rng(3).normal(0.1, 1.0, (2, 10_000))
    scores = 0.5 + adams_weight(gradients) / 4.0
    np.testing.assert_array_equal(guess_of_two_adam_steps(scores), gradients.sum(axis=0) < 0.0)
