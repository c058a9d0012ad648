"""A plan that comes as a file must be what fedloom would have made of its study."""

import copy
import math

import pytest

import fedloom
from fedloom.common.errors import StudyError
from fedloom.common.study import parse_study
from fedloom.privacy.events import steps_of
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.resolve import resolve_plan

KEYS = ("ab" * 32, "cd" * 32, "ef" * 32)
LOOK = ("statistics", "rounds", 0)


def made(schema, kind, **training):
    study = parse_study(
        {
            "study": {"name": "toy", "schema": "schema.toml", "target": "label"},
            "privacy": {"epsilon": 4.0, "delta": 1e-5},
            "model": {"kind": kind},
            "training": training,
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
        ("vae", {"num_rounds": 2, "min_sites": 1}),
        ("gan", {"exchange": "gradients", "num_rounds": 2, "timeout_s": 5.0}),
    ],
)
def test_what_fedloom_resolves_is_accepted(toy_schema, kind, training):
    check_plan(made(toy_schema, kind, **training))


def set_in(body, path, value):
    for key in path[:-1]:
        body = body[key]
    body[path[-1]] = value


@pytest.mark.parametrize(
    "path, value",
    [
        # A norm that is stated too small would let counts through with hardly any noise.
        ((*LOOK, "l2_norm"), 1e-6),
        ((*LOOK, "kind"), "pairwise"),
        ((*LOOK, "length"), 3),
        ((*LOOK, "noise_multiplier"), 0.5),
        ((*LOOK, "noise_multiplier"), 5),
        ((*LOOK, "lattice_unit"), 1.0),
        (("statistics", "kind"), "pairwise"),
        (("statistics", "rounds"), []),
        (("statistics", "spare_rounds"), 1),
        (("training", "spare_rounds"), 1),
        (("privacy", "overlap"), 2),
        (("privacy", "colluding"), 1),
        (("privacy", "rows_per_person"), 2),
        (("evaluation",), {"share": 0.1, "hold_back": 0.1}),
        # A statistic in a training round would be priced as if it were sampled.
        (("training", "query"), "statistic"),
        (("training", "query"), "gradient"),
        (("training", "noise_multiplier"), 1e-3),
        (("training", "engine"), "nope"),
        (("training", "max_grad_norm"), 1e38),
        (("training", "num_rounds"), True),
        (("training", "num_rounds"), 2.0),
        (("training", "sample_rate"), 1e-9),
        (("training", "extra"), 1),
        (("model", "hidden"), 2 * 10**9),
        (("privacy", "unit"), "person"),
        (("privacy", "trust"), "secure-sum"),
        (("privacy", "neighbouring"), "replace-one"),
        (("privacy", "epsilon"), 1.0),
        (("schema_digest",), "0" * 64),
        (("fedloom",), "9.9"),
        (("sites", 0, "key"), KEYS[1]),
        (("sites", 0, "name"), "../north"),
        (("coordination", "min_sites"), 0),
        (("price", "epsilon"), 0.5),
        (("price", "delta"), 1e-9),
        ((*LOOK, "noise_multiplier"), 1e-300),
        (("training", "noise_multiplier"), 1e-300),
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
    body = copy.deepcopy(trained.body)
    set_in(body, path, value)
    with pytest.raises(StudyError):
        check_plan(Plan(body))


def test_a_price_that_differs_in_its_last_digits_is_no_lie(trained):
    body = copy.deepcopy(trained.body)
    body["price"]["epsilon"] = math.nextafter(body["price"]["epsilon"], 0.0)
    check_plan(Plan(body))


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
    assert masked.colluding == 1 and masked.coordination["min_sites"] == 3
    # At two sites, a person's part in one sum counts as two sums with half the variance.
    event = masked.rounds[0].event
    assert event.count == 2
    noise = masked.rounds[0].params["noise_multiplier"]
    assert event.event.noise_multiplier == pytest.approx(noise / math.sqrt(2))


def test_spare_rounds_are_priced_with_the_rest(masked):
    asked = sum(count_steps(round_query.event) for round_query in masked.rounds)
    spares = 0 if masked.training is None else masked.training["spare_rounds"]
    assert spares == (0 if masked.training is None else 2)
    assert count_steps(masked.event()) == asked + 2 * spares


def count_steps(event):
    return sum(steps_of([event]).values())


@pytest.mark.parametrize(
    "path, value",
    [
        (("privacy", "overlap"), 1),
        (("privacy", "rows_per_person"), 1),
        (("privacy", "trust"), "local"),
        (("coordination", "min_sites"), 2),
        (("evaluation", "histograms", 0, "l2_norm"), 1e-3),
        (("evaluation", "noise_multiplier"), 0.5),
        (("statistics", "rounds", 1, "l2_norm"), 1e-3),
        (("statistics", "rounds", 1, "most_cells"), 10),
    ],
)
def test_a_secure_sum_that_contradicts_itself_is_refused(masked, path, value):
    body = copy.deepcopy(masked.body)
    set_in(body, path, value)
    with pytest.raises(StudyError):
        check_plan(Plan(body))
