"""Without noise the regressions are those of the records; with noise their errors are as stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fedloom.common.errors import ConfigError, NotMeasuredError, SchemaError
from fedloom.common.schema import Column, Schema
from fedloom.privacy.inference.families import FAMILIES
from fedloom.privacy.inference.formula import parse_formula
from fedloom.privacy.inference.regression import Regression, regress
from tests.inferred import drawn, sums_of

ROWS = 4000
COVARIATES = "age + C(sex) + C(group)"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return drawn(ROWS, np.random.default_rng(5))


def design(frame: pd.DataFrame) -> np.ndarray:
    return np.stack(
        [
            np.ones(len(frame)),
            frame["age"],
            frame["sex"] == "m",
            frame["group"] == "b",
            frame["group"] == "c",
        ],
        axis=1,
    ).astype(float)


def fitted(x: np.ndarray, y: np.ndarray, family: str) -> np.ndarray:
    """Newton's method on the records themselves."""
    theta = np.zeros(x.shape[1])
    kind = FAMILIES[family]
    theta[0] = kind.start(float(y.mean()))
    for _ in range(50):
        mean = kind.mean(x @ theta)
        slope = kind.slope(x @ theta)
        theta = theta + np.linalg.solve((x * slope[:, None]).T @ x, x.T @ (y - mean))
    return theta


def response(frame: pd.DataFrame, family: str) -> tuple[str, np.ndarray]:
    return {
        "linear": ("score", frame["score"].to_numpy(float)),
        "logistic": ("sick", (frame["sick"] == "yes").to_numpy(float)),
        "poisson": ("visits", frame["visits"].to_numpy(float)),
    }[family]


def values(found: Regression) -> np.ndarray:
    return np.array([one.value for one in found.estimates])


@pytest.mark.parametrize("target", [None, "sick", "visits"])
@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
def test_without_noise_coefficients_are_those_of_the_records(frame, family, target):
    name, y = response(frame, family)
    found = regress(
        sums_of(frame, target), parse_formula(f"{name} ~ {COVARIATES}"), FAMILIES[family]
    )
    np.testing.assert_allclose(values(found), fitted(design(frame), y, family), rtol=1e-5)
    assert [one.name for one in found.estimates][1:3] == ["age", "sex: m"]


@pytest.mark.parametrize("family", ["linear", "logistic", "poisson"])
def test_without_noise_errors_are_those_of_the_sandwich(frame, family):
    name, y = response(frame, family)
    found = regress(sums_of(frame), parse_formula(f"{name} ~ {COVARIATES}"), FAMILIES[family])
    x, kind = design(frame), FAMILIES[family]
    theta = fitted(x, y, family)
    scores = x * (y - kind.mean(x @ theta))[:, None]
    bread = np.linalg.inv((x * kind.slope(x @ theta)[:, None]).T @ x)
    true = np.sqrt(np.diag(bread @ (scores.T @ scores) @ bread))
    # What no pair of columns tells adds to the errors of the families that are not linear.
    most = 1.0001 if family == "linear" else 1.25
    ratio = np.array([one.std_error for one in found.estimates]) / true
    assert np.all(ratio > 0.8) and np.all(ratio < most)
    assert all(one.std_noise == 0.0 for one in found.estimates)


def test_cut_levels_and_reference_levels_are_as_asked(frame):
    found = regress(
        sums_of(frame), parse_formula("score ~ cut(age, 40, 60) + C(group, ref=c)"),
        FAMILIES["linear"],
    )  # fmt: skip
    x = np.stack(
        [
            np.ones(ROWS),
            frame["age"].between(40, 59),
            frame["age"] >= 60,
            frame["group"] == "a",
            frame["group"] == "b",
        ],
        axis=1,
    ).astype(float)
    np.testing.assert_allclose(
        values(found), np.linalg.lstsq(x, frame["score"].to_numpy(float), rcond=None)[0], rtol=1e-6
    )
    assert [one.name for one in found.estimates][3:] == ["group: a", "group: b"]


def test_functions_of_a_column_and_values_are_covariates(frame):
    found = regress(
        sums_of(frame), parse_formula("score ~ age + age**2 + log(age) + group == b"),
        FAMILIES["linear"],
    )  # fmt: skip
    age = frame["age"].to_numpy(float)
    x = np.stack([np.ones(ROWS), age, age**2, np.log(age), frame["group"] == "b"], axis=1)
    true = np.linalg.lstsq(x.astype(float), frame["score"].to_numpy(float), rcond=None)[0]
    np.testing.assert_allclose(values(found), true, rtol=1e-4)


def test_records_of_one_person_widen_the_sampling_error_alone(frame):
    formula = parse_formula("score ~ age")
    one = regress(sums_of(frame, stds=(5.0, 5.0)), formula, FAMILIES["linear"]).estimates[1]
    four = regress(sums_of(frame, stds=(5.0, 5.0), alike=4), formula, FAMILIES["linear"]).estimates[
        1
    ]
    assert four.std_sampling == pytest.approx(2 * one.std_sampling)
    assert four.std_noise == pytest.approx(one.std_noise)


def test_group_means_are_corrected_for_the_cells_that_pairs_are_counted_on():
    schema = Schema(
        (
            Column("x", kind="real", minimum=-6.0, maximum=6.0, bins=60),
            Column("y", kind="real", minimum=-7.2, maximum=7.2, bins=60),
        )
    )
    rng = np.random.default_rng(1)
    x = rng.normal(size=200_000)
    frame = pd.DataFrame({"x": x, "y": 0.6 * x + rng.normal(size=len(x))})
    fifths = np.searchsorted([-0.84, -0.25, 0.25, 0.84], np.arange(60) * 0.2 - 5.9)
    coarse = np.concatenate([fifths, [4], fifths, [4]]).astype(np.int32)
    sums = sums_of(frame, schema=schema, groups=coarse)
    slope = regress(sums, parse_formula("y ~ x"), FAMILIES["linear"]).estimates[1]
    assert slope.value == pytest.approx(0.6, abs=0.015)
    # Uncorrected, the slope would be lower by what the groups of y lose.
    assert sums.kept_variance["y"] < 0.92


def test_a_pair_that_was_not_counted_is_refused(frame):
    with pytest.raises(NotMeasuredError, match="pairwise"):
        regress(
            sums_of(frame, "sick", pairs=False), parse_formula("score ~ age"), FAMILIES["linear"]
        )
    # With the label every column was counted.
    found = regress(
        sums_of(frame, "sick", pairs=False), parse_formula("sick ~ age"), FAMILIES["logistic"]
    )
    assert found.estimates[1].value == pytest.approx(
        fitted(design(frame)[:, :2], (frame["sick"] == "yes").to_numpy(float), "logistic")[1]
    )


def test_what_noise_hides_is_refused(frame):
    with pytest.raises(NotMeasuredError, match="noise hides"):
        regress(
            sums_of(frame, stds=(40.0, 400.0)), parse_formula("score ~ age + C(sex)"),
            FAMILIES["linear"],
        )  # fmt: skip


def test_an_interaction_is_refused(frame):
    with pytest.raises(NotMeasuredError, match="interaction"):
        parse_formula("score ~ age * sex")


@pytest.mark.parametrize(
    "formula, family",
    [("score ~ age", "logistic"), ("score ~ age", "poisson"), ("group ~ age", "linear")],
)
def test_a_response_that_does_not_fit_is_refused(frame, formula, family):
    with pytest.raises(ConfigError):
        regress(sums_of(frame), parse_formula(formula), FAMILIES[family])


def test_an_unknown_column_is_an_error_of_the_schema(frame):
    with pytest.raises(SchemaError):
        regress(sums_of(frame), parse_formula("score ~ shoe"), FAMILIES["linear"])


def test_missing_values_are_left_out_pair_by_pair():
    schema = Schema(
        (
            Column("x", kind="integer", minimum=0, maximum=9, nullable=True),
            Column("y", kind="integer", minimum=0, maximum=60),
        )
    )
    rng = np.random.default_rng(4)
    x = rng.integers(0, 10, 5000)
    frame = pd.DataFrame({"x": x.astype(float), "y": 3 * x + rng.integers(0, 20, 5000)})
    frame.loc[rng.random(5000) < 0.3, "x"] = np.nan
    found = regress(
        sums_of(frame, schema=schema), parse_formula("y ~ x"), FAMILIES["linear"]
    ).estimates
    assert found[1].value == pytest.approx(3.0, abs=4 * found[1].std_error)
