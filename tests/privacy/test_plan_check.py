"""A plan that comes as a file must be what fedloom would have made of its study."""

import copy
import math

import pytest

import fedloom
from fedloom.common.errors import StudyError
from fedloom.common.study import parse_study
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.resolve import resolve_plan

KEYS = ("ab" * 32, "cd" * 32)


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
        (("statistics", "l2_norm"), 1e-6),
        (("statistics", "kind"), "pairwise"),
        (("statistics", "length"), 3),
        (("statistics", "noise_multiplier"), 0.5),
        (("statistics", "noise_multiplier"), 5),
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
        (("statistics", "noise_multiplier"), 1e-300),
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
