"""Texts of a study and its schema show literally in a release's documents."""

from __future__ import annotations

import re

import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.schema import Column, Schema
from fedloom.privacy.release.codebook import codebook_text
from fedloom.privacy.release.documents import Facts, datasheet_text, readme_text
from fedloom.privacy.release.render import code_span, plain_text

TITLE = "Synthetic data <!-- # (0.01, 1e-09)-DP"
SHOWN = r"Synthetic data &lt;!-- \# (0.01, 1e-09)-DP"
LINK = "[epsilon](https://example.org) `0.01` **now** | <b>&amp;"
STATEMENT = {
    "preprocessing": {"learned": []},
    "sites": ["north", "south_west"],
    "towards": {
        "coordinator": {"epsilon": 2.0},
        "fellow_site": {"epsilon": 2.0},
        "public": {"epsilon": 1.5},
    },
    "claim": {"text": "(2, 1e-05)-DP"},
    "epsilon": 2.0,
    "delta": 1e-5,
    "unit_of_privacy": {"unit": "person", "text": f"One person: all rows with one {LINK}."},
    "held_back": {"chance": 0.1},
    "rehearsal": {"sites": []},
}


def facts(target: str = "label", values: tuple[str, ...] = ("no", "yes"), **changes) -> Facts:
    age = Column("age", "integer", minimum=0, maximum=9)
    schema = Schema((age, Column(target, "category", values=values)))
    plain = {
        "title": TITLE,
        "created": "2026-01-01",
        "rows": 10,
        "model": "mixture",
        "licence": LINK,
        "contact": LINK,
        "public_key": "ab" * 32,
        "fingerprint": "ab:cd",
        "statement": STATEMENT,
        "encoding": Encoding(schema, target),
    }
    return Facts(**{**plain, **changes})


def test_a_title_opens_no_comment_heading_or_link():
    assert readme_text(facts()).startswith(f"# {SHOWN}\n")
    assert datasheet_text(facts()).startswith(f"# Datasheet: {SHOWN}\n")
    for text in (readme_text(facts()), datasheet_text(facts(target="a # [b](c) <d>"))):
        assert "<!--" not in text and "<b>" not in text and "<d>" not in text
        assert not re.search(r"(?<!\\)\](?=\()", text)


def test_the_readme_says_what_epsilon_is_towards_whom():
    text = " ".join(readme_text(facts()).split())
    assert "2 towards the coordinator" in text and "1.5 towards whoever holds this folder" in text
    assert "`evaluation.json`" in text
    alike = {party: {"epsilon": 2.0} for party in STATEMENT["towards"]}
    plain = {**STATEMENT, "towards": alike, "held_back": {"chance": 0.0}}
    text = " ".join(readme_text(facts(statement=plain)).split())
    assert "the same towards everybody" in text and "evaluation.json" not in text


def test_the_command_to_draw_rows_quotes_what_a_shell_would_run():
    assert "--where label=no\n" in readme_text(facts())
    hostile = readme_text(facts(values=("$(rm x)", "b")))
    assert "--where label='$(rm x)'\n" in hostile
    assert "--where" not in readme_text(facts(values=("a\x1b[2J```# b", "b")))


def test_the_codebook_shows_names_descriptions_and_values_literally():
    schema = Schema(
        (
            Column(
                "a <!-- # [b](c)",
                "category",
                values=("x\u2028# y", "``z`", "some_name", "<!--"),
                other="`o",
                description="first\n# second <!--\n- third",
            ),
        )
    )
    lines = codebook_text(Encoding(schema, None)).splitlines()
    assert r"## a &lt;!-- \# \[b\](c)" in lines
    assert r"first \# second &lt;!-- - third" in lines
    assert "- values: `x # y`, ``` ``z` ```, `some_name`, `<!--`" in "\n".join(lines)
    assert [line for line in lines if line.startswith("#")][2:] == ["## Noisy counts"]


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Ours", "Ours"),
        ("birth_year", r"birth\_year"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("===", r"\==="),
        ("a\r\n\tb\u2028c\x00", "a b c\ufffd"),
        ("R&D", "R&amp;D"),
        ("\\[a]", r"\\\[a\]"),
    ],
)
def test_plain_text(text, shown):
    assert plain_text(text) == shown


@pytest.mark.parametrize("text, shown", [("a", "`a`"), ("", "` `"), ("a`b", "``a`b``")])
def test_code_span(text, shown):
    assert code_span(text) == shown
