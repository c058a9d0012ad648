"""A plan that comes as a file must be what fedloom would have made of its study."""

import math

import pytest

import fedloom
from fedloom.common.errors import StudyError
from fedloom.common.study import parse_study
from fedloom.privacy.events import steps_of
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.resolve import resolve_plan
from tests.plans import edited

KEYS = ("ab" * 32, "cd" * 32, "ef" * 32)
LOOK, TRAINING = ("phases", 0), ("phases", 1)
SETTINGS = (*TRAINING, "settings")


def made(schema, kind, coordination=None, **training):
    study = parse_study(
        {
            "study": {"name": "toy", "schema": "schema.toml", "target": "label"},
            "privacy": {"epsilon": 4.0, "delta": 1e-5},
            "model": {"kind": kind},
            "training": training,
            "coordination": coordination or {},
            "site": [{"name": "north", "key": KEYS[0]}, {"name": "south", "key": KEYS[1]}],
        },
        schema,
    )
    return resolve_plan(study, schema, version=fedloom.__version__)


@pytest.fixture(scope="module")
def trained(toy_schema):
    return made(toy_schema, "vae", num_rounds=2, local_steps=3)


@pytest.mark.parametrize(
    "kind, training",
    [
        ("mixture", {}),
        ("vae", {"num_rounds": 2, "coordination": {"min_sites": 1}}),
        ("gan", {"exchange": "gradients", "num_rounds": 2, "coordination": {"timeout_s": 5.0}}),
    ],
)
def test_what_fedloom_resolves_is_accepted(toy_schema, kind, training):
    check_plan(made(toy_schema, kind, **training))


@pytest.mark.parametrize(
    "path, value",
    [
        # A norm that is stated too small would let counts through with hardly any noise.
        ((*LOOK, "l2_norm"), 1e-6),
        ((*LOOK, "statistic"), "pairwise"),
        ((*LOOK, "max_cells"), 3),
        ((*LOOK, "noise_multiplier"), 0.5),
        ((*LOOK, "noise_multiplier"), "5"),
        ((*LOOK, "grid_step"), 1.0),
        (("statistics", "kind"), "pairwise"),
        (("phases",), []),
        (("statistics", "spare_rounds"), 1),
        ((*SETTINGS, "spare_rounds"), 1),
        (("privacy", "overlap"), 2),
        (("privacy", "colluding"), 1),
        (("privacy", "rows_per_person"), 2),
        ((*LOOK, "share"), 0.5),
        # A statistic in a training round would be priced as if it were sampled.
        ((*TRAINING, "phase"), "statistic"),
        ((*TRAINING, "exchange"), "gradients"),
        ((*TRAINING, "noise_multiplier"), 1e-3),
        ((*SETTINGS, "engine"), "nope"),
        ((*SETTINGS, "max_grad_norm"), 1e38),
        ((*SETTINGS, "num_rounds"), True),
        ((*SETTINGS, "num_rounds"), 2.5),
        ((*SETTINGS, "sample_rate"), 1e-9),
        ((*SETTINGS, "extra"), 1),
        (("model", "hidden"), 2 * 10**9),
        (("privacy", "unit"), "person"),
        (("privacy", "trust"), "secure-sum"),
        (("neighbouring",), "replace-one"),
        (("privacy", "epsilon"), 1.0),
        (("schema_digest",), "0" * 64),
        (("fedloom",), "9.9"),
        (("sites", 0, "key"), KEYS[1]),
        (("sites", 0, "name"), "../north"),
        (("coordination", "min_sites"), 0),
        (("price", "epsilon"), 0.5),
        (("price", "delta"), 1e-9),
        ((*LOOK, "noise_multiplier"), 1e-300),
        ((*TRAINING, "noise_multiplier"), 1e-300),
        (("sites",), ["a"]),
        (("model",), ["vae"]),
        (("schema",), ["column"]),
        (("price",), ["epsilon"]),
        (("study", "digest"), 7),
        (("study", "digest"), "g" * 64),
        (("study", "digest"), "AB" * 32),
        (("study", "target"), "nothing"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(trained, path, value):
    with pytest.raises(StudyError):
        check_plan(edited(trained, path, value))


def test_a_price_that_differs_in_its_last_digits_is_no_lie(trained):
    almost = math.nextafter(trained.stated_price.epsilon, 0.0)
    check_plan(edited(trained, ("price", "epsilon"), almost))


SECURE = {
    "study": {"name": "toy", "schema": "schema.toml", "target": "label"},
    "privacy": {
        "epsilon": 4.0,
        "delta": 1e-5,
        "unit": "person",
        "id": "number",
        "rows_per_person": 3,
        "overlap": 2,
    },
    "evaluation": {"share": 0.1},
    "site": [
        {"name": name, "key": key, "exchange-key": key[::-1]}
        for name, key in zip(("east", "north", "south"), KEYS, strict=True)
    ],
}


@pytest.fixture(scope="module", params=["mixture", "vae"])
def masked(request, toy_schema):
    extra = {"model": {"kind": request.param}}
    if request.param == "vae":
        extra |= {"statistics": {"kind": "pairwise"}, "training": {"num_rounds": 30}}
    study = parse_study({**SECURE, **extra}, toy_schema)
    return resolve_plan(study, toy_schema, version=fedloom.__version__)


def test_a_secure_sum_of_persons_is_accepted_and_every_round_is_priced(masked):
    check_plan(masked)
    queries = [asked.query for asked in masked.rounds]
    assert queries[:2] == ["statistic"] * 2 and queries[-1] == "evaluate"
    assert masked.colluding == 1 and masked.min_sites == 3
    # At two sites, a person's part in one sum counts as two sums with half the variance.
    event = masked.rounds[0].event
    assert event.count == 2
    noise = masked.rounds[0].params["noise_multiplier"]
    assert event.event.noise_multiplier == pytest.approx(noise / math.sqrt(2))


def test_spare_rounds_are_priced_with_the_rest(masked):
    asked = sum(count_steps(round_query.event) for round_query in masked.rounds)
    spares = 0 if masked.training is None else masked.training.spare_rounds
    assert spares == (0 if masked.training is None else 2)
    assert count_steps(masked.event()) == asked + 2 * spares


def count_steps(event):
    return sum(steps_of([event]).values())


@pytest.mark.parametrize(
    "path, value",
    [
        (("privacy", "overlap"), 1),
        (("privacy", "rows_per_person"), 1),
        (("privacy", "trust"), "per-site"),
        (("coordination", "min_sites"), 2),
        (("phases", -1, "histograms", 0, "l2_norm"), 1e-3),
        (("phases", -1, "noise_multiplier"), 0.5),
        (("phases", 1, "l2_norm"), 1e-3),
        (("phases", 1, "max_cells"), 10),
    ],
)
def test_a_secure_sum_that_contradicts_itself_is_refused(masked, path, value):
    with pytest.raises(StudyError):
        check_plan(edited(masked, path, value))
