"""Studies of images whose models are trained, from sites' records to a verified release."""

from __future__ import annotations

import numpy as np
import pytest

import fedloom
from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.study import load_study
from fedloom.privacy.resolve import resolve_plan
from tests.images.conftest import SCHEMA, SITES

# Few records, rounds and steps: what is drawn is no better than the sums, and everything is used.
MODELS = {
    "vae": 'kind = "image-vae"\nhidden = 16\nlatent = 2\nstart_steps = 250\n',
    "deep vae": 'kind = "image-vae"\nhidden = 16\nlatent = 2\nstart_steps = 400\ndepth = 3\n'
    'likelihood = "discretised"\ncorruption = 0.1\nmasking = 0.1\nflow = 2\n',
    "hinge": 'kind = "image-gan"\nloss = "hinge"\nhidden = 16\nlatent = 2\nstart_steps = 20\n',
    "gan": 'kind = "image-gan"\nhidden = 16\nlatent = 2\nstart_steps = 20\nviews = 2\nshift = 1\n',
}
MODELS["modulated"] = MODELS["hinge"] + (
    'generator = "modulated"\ngrowth = 0.5\ncertainty = 0.5\n'
    "class_weight = 0.3\ncode_weight = 0.3\ncodes = 2\n"
)
MODELS["convolutions"] = MODELS["gan"] + 'generator = "convolutions"\nclass_weight = 5.0\n'
KINDS = ("vae", "hinge", "gan")
ROUNDS = "[training]\nnum_rounds = 3\nsample_rate = 0.5\nserver_learning_rate = 0.001\n"
# A critic of moments is asked once, and its generator then takes these steps.
ONCE, ROUND = ("gan", "convolutions"), "[training]\ngenerator_steps = 150\n"
LOOK = '[statistics]\nkind = "one-way"\n'
CASES = [
    pytest.param(("vae", "", "per-site"), id="vae"),
    pytest.param(("gan", LOOK, "secure-sum"), id="gan from a look"),
    pytest.param(("hinge", LOOK, "per-site"), id="hinge from a look"),
    pytest.param(("modulated", LOOK, "secure-sum"), id="modulated from a look"),
    pytest.param(("modulated", "", "per-site"), id="modulated", marks=pytest.mark.slow),
    pytest.param(("convolutions", "", "per-site"), id="convolutions", marks=pytest.mark.slow),
    pytest.param(("deep vae", "", "secure-sum"), id="deep vae", marks=pytest.mark.slow),
    pytest.param(("gan", "", "per-site"), id="gan", marks=pytest.mark.slow),
    pytest.param(("hinge", "", "per-site"), id="hinge", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=CASES)
def made(request, tmp_path_factory, digits):
    """Model, the run, its release and the release's evidence."""
    model, more, trust = request.param
    folder = tmp_path_factory.mktemp("study")
    study = study_of(folder, model, more, trust)
    tables = {}
    for number, site in enumerate(SITES):
        rows = np.arange(number, 1600, 4)
        tables[site] = folder / f"{site}.npz"
        np.savez(tables[site], image=digits["image"][rows], digit=digits["digit"][rows])
    run = fedloom.simulate(study, tables, out=folder / "run")
    release = run.release(folder / "release", evidence=folder / "evidence")
    return model, more, run, release, folder / "evidence"


def study_of(folder, model, more="", trust="secure-sum", rounds=None):
    rounds = rounds or (ROUND if model in ONCE else ROUNDS)
    (folder / "schema.toml").write_text(SCHEMA)
    sites = "".join(f'[[site]]\nname = "{site}"\n' for site in SITES)
    path = folder / "study.toml"
    path.write_text(
        '[study]\nname = "digits"\nschema = "schema.toml"\ntarget = "digit"\n'
        f'[privacy]\nepsilon = 30.0\ndelta = 1e-5\ntrust = "{trust}"\n'
        f"[model]\n{MODELS[model]}{more}{rounds}{sites}"
    )
    return path


def test_images_look_like_their_class(made, digits):
    """Means of synthetic images tell real digits apart, guessing would be right in .10."""
    _, _, run, _, _ = made
    drawn = run.sample(1000, seed=3)
    labels = drawn["digit"].astype(str).to_numpy()
    flat = np.stack([image.reshape(-1).astype(float) for image in drawn["image"]])
    means = np.stack([flat[labels == str(digit)].mean(axis=0) for digit in range(10)])
    rest = digits["image"].reshape(len(digits["image"]), -1).astype(float)
    told = ((rest[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (told == digits["digit"].astype(int)).mean() > 0.6


def test_one_budget_pays_for_sums_and_rounds(made):
    model, more, run, _, _ = made
    assert run.epsilon <= 30.0
    asked = [phase.statistic for phase in run.plan.statistics]
    assert asked[:2] == ["image-columns", "image-look"] and len(asked) == (2 if more else 7)
    training = run.plan.training
    asked_once = training.num_rounds, training.settings.sample_rate
    assert asked_once == ((1, 1.0) if model in ONCE else (3, 0.5))


def test_a_release_is_verified_and_fitted_again(made):
    _, _, _, release, evidence = made
    fedloom.verify(release, evidence=evidence, refit=True)


def test_samples_from_a_release_need_no_torch_and_meet_conditions(made):
    _, _, run, release, _ = made
    drawn = fedloom.Release(release).sample(20, seed=1, where={"digit": "7"})
    again = run.sample(20, seed=1, where={"digit": "7"})
    assert (drawn["digit"] == "7").all()
    np.testing.assert_array_equal(np.stack(list(drawn["image"])), np.stack(list(again["image"])))


def resolved(path):
    study, schema = load_study(path)
    return resolve_plan(study, schema, version="0.1.0")


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize(
    "more",
    [
        '[statistics]\nkind = "three-way"\n',
        "[statistics]\none_way_share = 0.5\n",
        "[statistics]\nshare = 1.0\n",
    ],
)
def test_statistics_that_do_not_fit_are_refused(tmp_path, model, more):
    with pytest.raises(StudyError):
        resolved(study_of(tmp_path, model, more))


@pytest.mark.parametrize("model", KINDS)
def test_weights_are_not_exchanged(tmp_path, model):
    rounds = '[training]\nexchange = "weights"\n'
    with pytest.raises(StudyError, match="exchange"):
        resolved(study_of(tmp_path, model, trust="per-site", rounds=rounds))


def test_a_model_of_images_on_a_table_is_refused(tmp_path):
    path = study_of(tmp_path, "vae")
    schema = (tmp_path / "schema.toml").read_text()
    (tmp_path / "schema.toml").write_text(schema[schema.index("[[column]]") :])
    with pytest.raises((StudyError, ConfigError)):
        resolved(path)
