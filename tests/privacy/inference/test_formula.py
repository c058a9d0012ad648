"""Formulas are read as they are meant, and what cannot be read is refused."""

from __future__ import annotations

import pytest

from fedloom.common.errors import ConfigError, NotMeasuredError
from fedloom.privacy.inference.formula import Factor, parse_factor, parse_formula


@pytest.mark.parametrize(
    "text, form, column, value, cuts",
    [
        ("age", "column", "age", None, ()),
        ("`capital gain`", "column", "capital gain", None, ()),
        ("C(sex)", "levels", "sex", None, ()),
        ("C( sex , ref = f )", "levels", "sex", "f", ()),
        ('C(`a b`, ref="x, y")', "levels", "a b", "x, y", ()),
        ("cut(age, 30, 50.5)", "cut", "age", None, (30.0, 50.5)),
        ("clip(age, 0, 90)", "clip", "age", None, (0.0, 90.0)),
        ("log(x)", "log", "x", None, ()),
        ("log1p(x)", "log1p", "x", None, ()),
        ("I(x**2)", "square", "x", None, ()),
        ("x ** 2", "square", "x", None, ()),
        ("visited == yes", "equals", "visited", "yes", ()),
        ('region=="north + south"', "equals", "region", "north + south", ()),
        ("größe", "column", "größe", None, ()),
    ],
)
def test_a_summand_is_read(text, form, column, value, cuts):
    assert parse_factor(text) == Factor(text=text, form=form, column=column, value=value, cuts=cuts)


def test_a_formula_is_split_at_its_plus_signs_alone():
    formula = parse_formula('y ~ 1 + `a+b` + cut(age, 30, 50) + r == "x + y"')
    assert [factor.column for factor in formula.covariates] == ["a+b", "age", "r"]
    assert parse_formula("y ~ 1").covariates == ()


@pytest.mark.parametrize(
    "text",
    [
        "y", "y ~", "~ x", "y ~ x ~ z", "y ~ x +", "y ~ x x", "y ~ -x", "C(y) ~ x", "y ~ y",
        "y ~ x + x", "y ~ cut(x, 5, 3)", "y ~ cut(x, a)", "y ~ clip(x, 9)",
        "y ~ clip(x, 9, 2)", "y ~ sin(x)", "y ~ (x", "y ~ x - 1",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(ConfigError):
        parse_formula(text)


@pytest.mark.parametrize("text", ["y ~ a:b", "y ~ a*b", "y ~ a + C(b):c"])
def test_interactions_are_refused_as_not_measured(text):
    with pytest.raises(NotMeasuredError):
        parse_formula(text)
