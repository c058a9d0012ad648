from __future__ import annotations

import json

import pytest

from fedloom.privacy.plan import Plan
from tests.federation import cli, make


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients", "gan"])
def test_check_shows_plan_noise_price_and_time(tmp_path, model):
    federation = make(tmp_path, model)
    done = cli("study", "check", federation.study)
    assert done.code == 0, done.err
    words = ("plan digest", "of 8 at delta", "by PLD", "by RDP", "answers")
    assert all(word in done.out for word in (*words, "noise", "time", "north, south"))
    assert "not final" in done.out and "fedloom site keygen" in done.out
    assert ("Warning: " in done.out) is (model != "mixture")


def test_the_summary_for_machines(tmp_path):
    done = cli("study", "check", make(tmp_path, "weights").study, "--json")
    summary = done.json
    assert summary["answers_per_site"] == 3 and summary["model"] == "vae"
    assert summary["sites_without_key"] == ["north", "south"]
    assert 0 < summary["epsilon"] <= 8.0 < summary["epsilon_rdp"] + 3
    assert len(summary["warnings"]) == 1 and summary["expected_seconds"] > 0


def test_the_resolved_plan_is_the_one_whose_digest_is_shown(tmp_path):
    federation = make(tmp_path, "weights")
    shown = cli("study", "check", federation.study, "--json").json["plan_digest"]
    resolved = json.loads(cli("study", "check", federation.study, "--resolved").out)
    assert Plan.from_dict(resolved).digest() == shown
    assert cli("study", "check", federation.study, "--out", tmp_path / "plan.json").code == 0
    assert Plan.load(tmp_path / "plan.json").digest() == shown


def test_a_missing_study_is_said(tmp_path):
    done = cli("study", "check", tmp_path / "none.toml")
    assert done.code == 2 and "none.toml" in done.err


def test_errors_come_as_json_too(tmp_path):
    done = cli("study", "check", tmp_path / "none.toml", "--json")
    assert done.code == 2 and done.json["exit_code"] == 2 and "none.toml" in done.json["error"]


def test_check_says_how_far_off_a_share_will_be(tmp_path):
    done = cli("study", "check", make(tmp_path).study, "--json")
    rows = done.json["precision"]
    assert [row["size"] for row in rows] == [100, 500, 2000, 10_000]
    assert all(row["label"] > 0 and row["other"] > 0 for row in rows)


def test_solve_finds_the_least_epsilon_of_all_wants(tmp_path):
    study = make(tmp_path).study
    wants = ("--want", "visited by sex within 2 points", "--want", "sex within 1 point")
    done = cli("study", "solve", study, *wants, "--records", 5000, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["least_epsilon"] == max(want["least_epsilon"] for want in found["wants"])
    assert all(want["error"] > 0 for want in found["wants"])
    assert cli("study", "solve", study, *wants, "--records", 5000).code == 0


@pytest.mark.parametrize(
    "words, code",
    [
        (["--want", "visited by sex"], 2),
        (["--want", "shoe by sex within 2 points"], 2),
        (["--want", "visited by sex within 0.000001 points"], 3),
    ],
)
def test_solve_refuses_what_it_cannot_find(tmp_path, words, code):
    study = make(tmp_path).study
    assert cli("study", "solve", study, *words, "--records", 5000).code == code


def test_solve_asks_for_the_records_that_sites_do_not_declare(tmp_path):
    done = cli("study", "solve", make(tmp_path).study, "--want", "sex within 1 point")
    assert done.code == 2 and "--records" in done.err
