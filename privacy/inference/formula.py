"""Formulas of regressions: "visited == yes ~ age + C(sex) + log(income)".

A formula names a response, a tilde, and covariates joined by +. There is always an intercept.

  x              numbers of a column, or one effect a category of it
  C(x)           one effect a value, against the first; C(x, ref=v) against v
  cut(x, 30, 50) one effect an interval: below 30, 30 to below 50, 50 and more
  clip(x, 0, 90) numbers of a column, those beyond the limits moved to them
  log(x), log1p(x), x**2   functions of one column; log1p is log(1 + x)
  x == v         1 where x is v, else 0

A name with other characters than letters, digits and _ stands in backticks, a value in quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedloom.common.errors import ConfigError, NotMeasuredError

__all__ = ["Factor", "Formula", "parse_factor", "parse_formula"]

_NAME = r"(?:`(?P<quoted>[^`]+)`|(?P<plain>[^\W\d]\w*))"
_VALUE = r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^"'`(),=]+))"""
_FORMS = {
    "equals": re.compile(rf"{_NAME}\s*==\s*{_VALUE}"),
    "levels": re.compile(rf"C\(\s*{_NAME}\s*(?:,\s*ref\s*=\s*{_VALUE})?\)"),
    "cut": re.compile(rf"cut\(\s*{_NAME}\s*,(?P<cuts>[^()]+)\)"),
    "clip": re.compile(rf"clip\(\s*{_NAME}\s*,(?P<limits>[^(),]+,[^(),]+)\)"),
    "log": re.compile(rf"log\(\s*{_NAME}\s*\)"),
    "log1p": re.compile(rf"log1p\(\s*{_NAME}\s*\)"),
    "square": re.compile(rf"(?:I\(\s*)?{_NAME}\s*\*\*\s*2\s*\)?"),
    "column": re.compile(_NAME),
}
_NUMBERS = {"cut": "cuts", "clip": "limits"}
_TOKEN = re.compile(r"""`[^`]*`|"[^"]*"|'[^']*'|\([^()]*\)|[^`"'()]""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One side or summand of a formula.

    Attributes:
      text: as it was written.
      form: "column", "levels", "cut", "clip", "log", "log1p", "square" or "equals".
      column: the column.
      value: what it is compared with: the value of "equals", the reference of "levels".
      cuts: first values of all intervals of "cut" but the first; the two limits of "clip".
    """

    text: str
    form: str
    column: str
    value: str | None = None
    cuts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A response and its covariates.

    Attributes:
      response: what is explained.
      covariates: what explains it, without the intercept.
    """

    response: Factor
    covariates: tuple[Factor, ...]


def parse_formula(text: str) -> Formula:
    """Reads a formula.

    Raises:
      ConfigError: it cannot be read.
      NotMeasuredError: it holds an interaction, for which three columns must be counted together.

    >>> formula = parse_formula("y ~ age + C(sex, ref=f)")
    >>> formula.response.column, [factor.form for factor in formula.covariates]
    ('y', ['column', 'levels'])
    """
    sides = text.split("~")
    if len(sides) != 2 or not sides[0].strip() or not sides[1].strip():
        raise ConfigError(f'{text!r} is no formula; write one such as "y ~ x1 + C(x2)"')
    pieces = _split(sides[1])
    response = parse_factor(sides[0])
    if response.form in ("levels", "cut"):
        raise ConfigError(f"the response {response.text} must be one number; write x or x == value")
    covariates = tuple(parse_factor(piece) for piece in pieces if piece != "1")
    columns = [factor.column for factor in covariates]
    if response.column in columns:
        raise ConfigError(f"column {response.column!r} stands on both sides of the formula")
    texts = [factor.text for factor in covariates]
    if len(set(texts)) < len(texts):
        raise ConfigError("a covariate stands twice in the formula; name each once")
    return Formula(response=response, covariates=covariates)


def _split(text: str) -> list[str]:
    """Splits at each + that stands in no quotes, backticks or brackets."""
    pieces, end = [""], 0
    for token in _TOKEN.finditer(text):
        if token.start() != end:
            break
        end = token.end()
        if token.group() == "+":
            pieces.append("")
        else:
            pieces[-1] += token.group()
    pieces = [piece.strip() for piece in pieces]
    if end != len(text) or not all(pieces):
        raise ConfigError(f"{text.strip()!r} cannot be read; join columns by +")
    return pieces


def parse_factor(text: str) -> Factor:
    """Reads one summand.

    Raises:
      ConfigError: it cannot be read.
      NotMeasuredError: it is an interaction.
    """
    text = text.strip()
    for form, pattern in _FORMS.items():
        match = pattern.fullmatch(text)
        if match is not None:
            parts = match.groupdict()
            column = parts["quoted"] or parts["plain"]
            values = [parts.get(name) for name in ("double", "single", "bare")]
            value = next((one for one in values if one is not None), None)
            return Factor(
                text=text,
                form=form,
                column=column,
                value=None if value is None else value.strip(),
                cuts=_cuts(text, parts[_NUMBERS[form]]) if form in _NUMBERS else (),
            )
    if re.search(r"[:*]", text):
        raise NotMeasuredError(
            f"{text!r} is an interaction: it needs the response and both columns counted together, "
            "and studies count pairs of columns; leave it out, or have the sites' records analysed "
            "there"
        )
    raise ConfigError(
        f"{text!r} cannot be read; a summand is a column, C(column), cut(column, 30, 50), "
        "clip(column, 0, 90), log(column), log1p(column), column**2 or column == value; other "
        "names stand in backticks"
    )


def _cuts(text: str, numbers: str) -> tuple[float, ...]:
    try:
        cuts = tuple(float(number) for number in numbers.split(","))
    except ValueError:
        raise ConfigError(f"{text!r}: what follows the column must be numbers") from None
    if any(first >= second for first, second in zip(cuts, cuts[1:], strict=False)):
        raise ConfigError(f"{text!r}: the numbers must increase")
    return cuts
