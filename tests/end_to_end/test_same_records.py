"""`[public] same_records`: an earlier release's answers and the new ones, from study to release."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fedloom.client.plan_in_words import in_plain_words
from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.study import load_study
from fedloom.privacy.answers.files import pack_arrays, read_arrays
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.keys import load_private_key
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.release.earlier import EARLIER, check_alike, load_earlier
from fedloom.privacy.release.public_input import earlier_release, read_public_table
from tests.federation import Federation, cli, make
from tests.tampering import failed, sign_again


def study(folder: Path, release: Path, *, rows: int = 200, more: str = "") -> Federation:
    named = f'[public]\nrelease = "{release}"\nsame_records = true\n{more}'
    return make(folder, "tree", more=named, rows=rows, epsilon=2.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    (folder / "first").mkdir()
    first = make(folder / "first", "tree", rows=200, epsilon=1.0)
    assert first.simulate(folder / "first" / "run").code == 0
    assert cli("release", "build", folder / "first" / "run", "--out", folder / "early").code == 0
    (folder / "second").mkdir()
    assert study(folder / "second", folder / "early").simulate(folder / "run").code == 0
    assert cli("release", "build", folder / "run", "--out", folder / "release").code == 0
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "release", tmp_path / "release")
    return tmp_path / "release"


def test_the_generator_is_the_one_that_both_studies_answers_give(release):
    found = cli("release", "verify", release, "--refit", "--json")
    assert found.code == 0
    checks = {check["name"]: check["ok"] for check in found.json["checks"]}
    assert checks["public"] and checks["refit"]


def test_pairs_are_asked_on_the_earlier_groups(made):
    asked = {}
    for run in (made / "first" / "run", made / "run"):
        plan = Plan.load(run / "plan.json")
        number = next(r.round for r in plan.rounds if r.phase.statistic == "pairwise")
        asked[run] = OpenedRound.load(run / answer_path(number)).request_arrays["groups"]
    first, second = asked.values()
    assert np.array_equal(first, second)


def test_the_release_holds_the_signed_answers_it_rests_on_and_no_row_of_the_earlier_one(
    made, release
):
    held = {p.relative_to(release / EARLIER).as_posix() for p in (release / EARLIER).rglob("*")}
    assert {"manifest.json", "manifest.sig", "plan.json", "dp_statement.json"} <= held
    assert "data" not in held and not (release / "public.safetensors").exists()
    for path in held:
        if (release / EARLIER / path).is_file():
            assert (release / EARLIER / path).read_bytes() == (made / "early" / path).read_bytes()


def test_the_statement_adds_both_budgets(made, release):
    stated = cli("release", "verify", release, "--json").json
    plan = Plan.load(release / "plan.json")
    early = cli("release", "verify", made / "early", "--json").json
    assert plan.public.epsilon == early["epsilon"]
    statement = json.loads((release / "dp_statement.json").read_text())
    together = statement["public_data"]["together"]
    assert together["epsilon"] == pytest.approx(stated["epsilon"] + early["epsilon"])
    assert together["delta"] == pytest.approx(stated["delta"] + early["delta"])
    codes = {one["code"] for one in statement["assumptions"]}
    assert "same-records" in codes and "public-table-apart" not in codes


def test_a_third_release_adds_up_all_three(made, tmp_path):
    third = load_study(study(tmp_path, made / "release").study)[0]
    first = Plan.load(made / "early" / "plan.json").price().epsilon
    second = Plan.load(made / "release" / "plan.json").price().epsilon
    assert third.public.epsilon == pytest.approx(first + second)


def test_a_steward_reads_that_prices_add_up(made):
    plan = Plan.load(made / "run" / "plan.json")
    check_plan(plan)
    text = "\n".join(in_plain_words(plan, site="north"))
    assert plan.public.manifest in text and f"{plan.public.epsilon:.4g}" in text


def test_the_report_shows_the_drift_since_the_earlier_release_and_the_sum(made, release):
    report = (release / "report.html").read_text()
    assert "Since the earlier release" in report and "budgets add up" in report
    assert "Since the earlier release" not in (made / "early" / "report.html").read_text()


def test_changed_earlier_answers_are_seen(made, release, capsys):
    path = next((release / EARLIER / "answers").glob("*.safetensors"))
    header, arrays = read_arrays(path)
    arrays = {**arrays, "sum": arrays["sum"] + 1}
    path.write_bytes(pack_arrays(header, arrays))
    sign_again(release, load_private_key(made / "run" / "coordinator.key"))
    assert failed(capsys, release) == {"public"}


def test_a_release_without_the_earlier_answers_is_refused(made, release, capsys):
    shutil.rmtree(release / EARLIER)
    sign_again(release, load_private_key(made / "run" / "coordinator.key"))
    assert "public" in failed(capsys, release)


def test_earlier_answers_beside_a_plan_that_names_none_are_refused(made, tmp_path, capsys):
    shutil.copytree(made / "early", tmp_path / "early")
    shutil.copytree(made / "release" / EARLIER, tmp_path / "early" / EARLIER)
    sign_again(tmp_path / "early", load_private_key(made / "first" / "run" / "coordinator.key"))
    assert "public" in failed(capsys, tmp_path / "early")


def test_answers_to_other_questions_are_not_put_together(made, tmp_path):
    early, plan = (Plan.load(made / name / "plan.json") for name in ("early", "release"))
    check_alike(early, plan)
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other", "mixture", rows=50)
    assert other.simulate(tmp_path / "run").code == 0
    with pytest.raises(ConfigError):
        check_alike(Plan.load(tmp_path / "run" / "plan.json"), plan)


def test_the_release_is_verified_before_the_run(made, tmp_path):
    plan = Plan.load(made / "run" / "plan.json")
    assert read_public_table(plan, made / "second") is None
    assert earlier_release(plan, made / "second") == made / "early"
    assert load_earlier(made / "early", plan.public).plan.name
    shutil.copytree(made / "early", tmp_path / "early")
    (tmp_path / "early" / "codebook.md").write_text("another one")
    changed = study(tmp_path, tmp_path / "early")
    assert changed.simulate(tmp_path / "run").code == 4


def test_a_table_cannot_be_of_the_same_records(tmp_path):
    (tmp_path / "own.csv").write_text("age\n1\n")
    more = '[public]\ntable = "own.csv"\nsource = "ours"\nsame_records = true\n'
    with pytest.raises(StudyError):
        load_study(make(tmp_path, "tree", more=more, rows=20).study)
