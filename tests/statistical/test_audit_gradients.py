"""White-box audits of `client.queries.answer_arrays`: the query `gradient` of both models.

`tests.mu_audit` says how, `tests.crafted_weights` at which weights. A bound is above the true mu
with probability at most 0.001 over seeds; seeds are fixed. A bound must reach 75% of the claim,
which is mu of the plan's own event, and must not exceed it. The twins each have one bug built in,
and their bounds must exceed it.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

import fedloom.client.queries as queries
import fedloom.privacy.mechanisms.batches as batches
import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
from fedloom.client.records import Records
from fedloom.common.models import build_model
from fedloom.common.models.gan import GENERATOR, MARGINALS
from fedloom.common.models.private_model import read_weights
from fedloom.common.models.vae import TABLE
from fedloom.privacy.noise import NoiseSource
from tests.audit_cases import by_the_plans_sites, gradient_audit, training_plan
from tests.audited import FOUR_SITES, ROWS_PER_PERSON, allowed, neighbours
from tests.mu_audit import exactly

TRIALS = 400
TRIALS_OF_TWINS = 100
SECURE = {"sites": FOUR_SITES, "trust": "secure-sum"}
slow = pytest.mark.slow


@pytest.fixture
def plan_of(folder):
    """Makes the plan of a model whose rounds ask for gradients."""
    return lambda model, **options: training_plan(folder, model, exchange="gradients", **options)


@pytest.fixture
def tight(tell):
    """Whether an audit's bound reaches 75% of the claim, and not the claim itself."""

    def holds(name, audit, trials=TRIALS):
        return 0.75 < tell(name, audit.run(trials)).reached <= 1.0

    return holds


@pytest.mark.parametrize(
    "model, unit",
    [
        ("vae", "person"),
        ("gan", "record"),
        pytest.param("vae", "record", marks=slow),
        pytest.param("gan", "person", marks=slow),
    ],
)
def test_a_gradient_gives_away_what_is_claimed_and_no_more(home, plan_of, tight, model, unit):
    persons = unit == "person"
    audit = gradient_audit(home, plan_of(model, persons=persons), rows=5 if persons else 1)
    assert tight(f"gradient of {model}, {unit}", audit)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "gan"])
@pytest.mark.parametrize("roster", [FOUR_SITES, FOUR_SITES[:3]], ids=["all", "three of four"])
def test_a_secure_gradient_gives_away_what_is_claimed_and_no_more(
    home, plan_of, tight, model, roster
):
    """The colluding site's part, with its noise, is taken off."""
    audit = gradient_audit(home, plan_of(model, **SECURE), roster=roster)
    assert tight(f"gradient of {model}, secure sum over {len(roster)} of 4 sites", audit)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["record", "person"])
def test_a_sampled_gradient_gives_away_what_is_claimed_and_no_more(home, plan_of, tight, unit):
    """Every second unit takes part. The canary is alone, or who else is sampled would be noise."""
    persons = unit == "person"
    plan = plan_of("vae", persons=persons, sample_rate=0.5)
    audit = gradient_audit(home, plan, rows=ROWS_PER_PERSON if persons else 1, others=0)
    assert tight(f"gradient of vae at rate 1/2, {unit}", audit, trials=1000)


@pytest.mark.slow
def test_two_rounds_give_away_what_is_claimed_and_no_more(home, plan_of, tight):
    """The canary moves the first sum up and the second down; noise is fresh in each."""
    audit = gradient_audit(home, plan_of("gan", noise=0.45), there_and_back=True)
    assert tight("two gradients of gan, record", audit)


@pytest.mark.parametrize("model, left", [("vae", 0.89), ("gan", 0.77)])
def test_an_audit_at_first_weights_would_see_less(home, plan_of, model, left):
    """The clip is reached there too, but latents and fakes turn the gradient: its mean is shorter.

    The mean is what the attacker's projection sees, so an audit at such weights is loose.
    """
    plan = plan_of(model)
    asked, pair = first_request(plan), neighbours(home, plan, others=0)
    silent, phase = exactly(plan), plan.rounds[asked.round - 1].phase
    noise = NoiseSource.from_insecure_seed(20_261_128)
    drawn = [
        queries.answer_arrays(
            silent, asked, pair.with_it, noise, device="cpu", mask_share=lambda part: part
        )["sum"]
        * (phase.grid_step / phase.settings.max_grad_norm)
        for _ in range(60)
    ]
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.full(60, 0.997), abs=0.003)
    assert np.linalg.norm(np.mean(drawn, axis=0)) == pytest.approx(left, abs=0.04)


def first_request(plan):
    """What a coordinator asks first, with a generator of flat marginals."""
    model = build_model(plan.model, plan.encoding)
    arrays = read_weights(model.private_module(seed=3))
    for name, shape in model.public_shapes.items():
        flat = name in (TABLE, MARGINALS, GENERATOR + "table")
        arrays[name] = np.full(shape, np.log(0.05) if flat else 0.01, dtype=np.float32)
    return allowed(plan, 2, arrays=arrays)


def caught(audit, trials=TRIALS_OF_TWINS) -> bool:
    found = audit.run(trials)
    return found.bound > found.claim


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_half_the_noise_is_caught(home, plan_of, monkeypatch, model):
    whole = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: whole(self, n, std / 2))
    assert caught(gradient_audit(home, plan_of(model)))


def changing(monkeypatch, **settings):
    honest = gradient_module.clipped_gradient_sum

    def broken(*args, **more):
        return honest(*args, **{**more, **settings})

    monkeypatch.setattr(gradient_module, "clipped_gradient_sum", broken)


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_a_skipped_clip_is_caught(home, plan_of, monkeypatch, model):
    changing(monkeypatch, max_grad_norm=1e6)
    assert caught(gradient_audit(home, plan_of(model)))


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_rows_of_a_person_clipped_one_by_one_are_caught(home, plan_of, monkeypatch, model):
    changing(monkeypatch, persons=None)
    assert caught(gradient_audit(home, plan_of(model, persons=True), rows=ROWS_PER_PERSON))


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_units_that_are_all_sampled_are_caught(home, plan_of, monkeypatch, model):
    monkeypatch.setattr(NoiseSource, "poisson_sample", lambda self, units, rate: np.arange(units))
    assert caught(gradient_audit(home, plan_of(model, sample_rate=0.5), others=0))


def test_a_coin_for_every_row_of_a_person_is_caught(home, plan_of, monkeypatch):
    """One of three rows is enough to move the sum by the whole clip."""

    def row_by_row(persons, sample_rate, noise):
        return noise.poisson_sample(len(persons), sample_rate)

    monkeypatch.setattr(batches, "_rows_of_persons", row_by_row)
    plan = plan_of("vae", persons=True, sample_rate=0.5)
    assert caught(gradient_audit(home, plan, rows=ROWS_PER_PERSON, others=0))


@pytest.mark.slow
def test_shares_by_the_plans_sites_are_caught(home, plan_of, monkeypatch):
    """A roster of three of four has two thirds of the noise then."""
    monkeypatch.setattr(queries, "answer_arrays", by_the_plans_sites(queries.answer_arrays))
    audit = gradient_audit(home, plan_of("gan", **SECURE), roster=FOUR_SITES[:3])
    assert caught(audit, trials=800)


def test_noise_that_repeats_in_the_next_round_is_caught(home, plan_of, monkeypatch):
    """Two sums that differ in the canary's sign differ by nothing else then."""
    honest = queries.answer_arrays
    calls = itertools.count()

    def repeating(plan, asked, snapshot, noise, **more):
        again = NoiseSource.from_insecure_seed(next(calls) // 2)
        return honest(plan, asked, snapshot, again, **more)

    monkeypatch.setattr(queries, "answer_arrays", repeating)
    assert caught(gradient_audit(home, plan_of("gan", noise=0.45), there_and_back=True))


@pytest.mark.parametrize("leaky", [False, True])
def test_a_held_back_unit_gives_away_nothing(home, plan_of, monkeypatch, leaky):
    """The claim is 0. The twin trains on held-back units too."""
    more = "\n[evaluation]\nshare = 0.2\nhold_back = 0.5\n"
    plan = plan_of("gan", more=more)
    audit = gradient_audit(home, plan)
    hidden = {"north": neighbours(home, plan, held_back=True)}
    audit = dataclasses.replace(audit, claim=0.0, tables=hidden, towards=audit.tables)
    if leaky:
        honest = queries.answer_arrays

        def both(plan, asked, snapshot, *rest, **more):
            parts = (snapshot.training, snapshot.held_back)
            everybody = Records(
                features=np.concatenate([part.features for part in parts]),
                classes=np.concatenate([part.classes for part in parts]),
            )
            whole = dataclasses.replace(snapshot, training=everybody)
            return honest(plan, asked, whole, *rest, **more)

        monkeypatch.setattr(queries, "answer_arrays", both)
    assert caught(audit) is leaky
