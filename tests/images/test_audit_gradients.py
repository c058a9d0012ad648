"""White-box audits of gradients on images: the canary moves one direction by the whole clip.

At these weights the gradient of every record is known and longer than the clip. Each audit must
reach most of the mu that its plan claims and not exceed it; each twin must exceed it.
"""

from __future__ import annotations

import numpy as np
import pytest

import fedloom
import fedloom.privacy.mechanisms.noisy_gradient as gradient_module
from fedloom.client.records import Records, Snapshot
from fedloom.common.models import build_model
from fedloom.common.models.image_gan import SHOWN
from fedloom.common.models.image_model import CENTRE
from fedloom.common.models.moments import DIRECTIONS, EDGES
from fedloom.common.study import load_study
from fedloom.common.vocabulary import Rivalry
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.resolve import assemble, drafts_of
from tests.audited import Neighbours, allowed
from tests.images.conftest import SCHEMA
from tests.mu_audit import Audit, claimed_mu

TRIALS, TRIALS_OF_TWINS = 300, 100
NOISE, VIEWS = 0.5, 3
SMALL = SCHEMA.replace('"2", "3", "4", "5", "6", "7", "8", "9"', '"2"')
KINDS = {
    "vae": 'image-vae"\n',
    "denoising": 'image-vae"\nlikelihood = "discretised"\ncorruption = 0.5\nmasking = 0.5\n',
    "hinge": 'image-gan"\nloss = "hinge"\n',
    "growth": 'image-gan"\nloss = "hinge"\ngrowth = 0.5\n',
    "moments": 'image-gan"\nloss = "moments"\n',
}


PARAMS = [
    pytest.param(kind, marks=pytest.mark.slow) if kind == "denoising" else kind for kind in KINDS
]


@pytest.fixture(params=PARAMS)
def plan(request, tmp_path, study_at):
    """A plan of one site whose gradients have little noise."""
    path = study_at(tmp_path, schema=SMALL)
    text = path.read_text()
    for site in ("north", "south", "west"):
        text = text.replace(f'[[site]]\nname = "{site}"\n', "")
    model = f'kind = "{KINDS[request.param]}hidden = 8\nlatent = 2\nviews = {VIEWS}\nshift = 1\n'
    training = "[training]\nsample_rate = 1.0\nnum_rounds = 1\nmax_physical_batch = 64\n"
    path.write_text(text.replace('kind = "image-mixture"\n', model + training))
    study, schema = load_study(path)
    study = study.with_keys({"east": ("11" * 32, "22" * 32)}).with_coordinator("33" * 32)
    phases = [draft.at(NOISE) for draft in drafts_of(study, schema)]
    return assemble(study, schema, phases, version=fedloom.__version__)


def weights(plan):
    """All zero, but what a critic's last layer that reads says of every image.

    The gradient of a VAE is then that of its last bias, the light of the image; that of a critic
    is the direction of the record's class. A critic of moments sees dark images about a white
    centre: no image is further from it; and their edges are as far from the mean as is read. A
    critic that grows sees every frequency.
    """
    shapes = build_model(plan.model, plan.coder).request_shapes()
    arrays = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    readers = [name for name in arrays if name.startswith("reader") and name.endswith("bias")]
    if readers and plan.model.kind == "image-gan":
        arrays[readers[-1]][:] = 1.0
    if plan.model.kind == "image-gan" and plan.model.loss is Rivalry.MOMENTS:
        arrays[CENTRE][:] = 1.0
        arrays[EDGES][0] = arrays[DIRECTIONS][0, 0] = 1.0
    if SHOWN in arrays:
        arrays[SHOWN][:] = 1.0
    return arrays


def audit(plan) -> Audit:
    features = np.zeros(5, dtype=plan.coder.record_type)  # dark: shifts change nothing
    classes = np.array([1, 0, 0, 0, 0])
    with_it = Records(features=features, classes=classes)
    without = Records(features=features[1:], classes=classes[1:])
    none = Records(features=features[:0], classes=classes[:0])
    number = len(plan.statistics) + 1
    return Audit(
        plan=plan,
        requests=(allowed(plan, number, arrays=weights(plan)),),
        tables={
            "east": Neighbours(
                without=Snapshot(training=without, held_back=none),
                with_it=Snapshot(training=with_it, held_back=none),
            )
        },
        claim=claimed_mu(plan.rounds[number - 1].event),
    )


def test_a_gradient_on_images_gives_away_what_is_claimed_and_no_more(plan):
    assert 0.65 < audit(plan).run(TRIALS).reached <= 1.0


def caught(plan):
    found = audit(plan).run(TRIALS_OF_TWINS)
    return found.bound > found.claim


def test_half_the_noise_is_caught(plan, monkeypatch):
    honest = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda self, n, std: honest(self, n, std / 2))
    assert caught(plan)


def test_views_that_are_clipped_one_by_one_are_caught(plan, monkeypatch):
    honest = gradient_module.clipped_gradient_sum

    def apart(module, loss, batch, **more):
        total = {}
        for number in range(VIEWS):
            one = dict(batch)
            for name in ("view", "noise"):
                for place in range(VIEWS):
                    if f"{name}{place}" in batch:
                        one[f"{name}{place}"] = batch[f"{name}{number}"]
            for name, value in honest(module, loss, one, **more).items():
                total[name] = total.get(name, 0.0) + value
        return total

    monkeypatch.setattr(gradient_module, "clipped_gradient_sum", apart)
    assert caught(plan)


@pytest.mark.parametrize("plan", ["vae", "hinge", "growth"], indirect=True)
def test_a_skipped_clip_is_caught(plan, monkeypatch):
    """Moments are within the clip by themselves: `test_matching` has their twin."""
    honest = gradient_module.clipped_gradient_sum
    monkeypatch.setattr(
        gradient_module,
        "clipped_gradient_sum",
        lambda *args, **more: honest(*args, **{**more, "max_grad_norm": 1e6}),
    )
    assert caught(plan)
