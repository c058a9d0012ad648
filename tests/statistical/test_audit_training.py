"""White-box audits of `client.queries.answer_arrays`: the query `train` of both models.

The attacker holds the weights after all steps, and the claim is that of an attacker who sees every
step. With plain steps the last weights are the sum of all noised gradients, and nothing is lost.
Adam keeps one number a coordinate of two moments over the steps: after two steps that number still
tells the sign of the sum of both gradients, which is the best test there is, so the audit
takes two. After three and more it no longer does (docs/audit.md has numbers): what is left is room
of the optimiser, not of the mechanism, and nothing that a claim may count on.

`tests.mu_audit` says how, `tests.crafted_weights` at which weights. A bound is above the true mu
with probability at most 0.001 over seeds; seeds are fixed. A bound must reach 75% of the claim,
which is mu of the plan's own event, and must not exceed it. The twins each have one bug built in,
and their bounds must exceed it.
"""

from __future__ import annotations

import math

import pytest

import fedloom.privacy.mechanisms.training as training_module
from fedloom.privacy.noise import NoiseSource
from tests.audit_cases import training_audit, training_plan
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
