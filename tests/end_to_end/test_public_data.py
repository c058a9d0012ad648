"""`[public]`: from study.toml to a release that verifies, with a table and with a release."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedloom.client.plan_in_words import in_plain_words
from fedloom.common.digest import file_sha256
from fedloom.common.errors import ConfigError, DataError, StudyError
from fedloom.common.study import load_study
from fedloom.privacy.answers.files import pack_arrays, read_arrays
from fedloom.privacy.keys import load_private_key
from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_check import check_plan
from fedloom.privacy.release.public_file import PUBLIC
from fedloom.privacy.release.public_input import read_public_table
from tests.federation import Federation, cli, make, table
from tests.tampering import failed, sign_again

TABLE = '[public]\ntable = "others.csv"\nsource = "made up; CC0-1.0"\n'


def study(folder: Path, more: str = TABLE, *, rows: int = 200, model: str = "tree") -> Federation:
    folder.mkdir(parents=True, exist_ok=True)
    table(500, seed=9).to_csv(folder / "others.csv", index=False)
    return make(folder, model, more=more, rows=rows, epsilon=1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("public")
    # Fixed noise: whether the answers leave room for a public table is a matter of chance.
    assert study(folder).simulate(folder / "run", "--insecure-seed", "3").code == 0
    assert cli("release", "build", folder / "run", "--out", folder / "release").code == 0
    return folder


@pytest.fixture
def release(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "release", tmp_path / "release")
    return tmp_path / "release"


def test_the_generator_is_the_one_that_answers_and_public_counts_give(release):
    found = cli("release", "verify", release, "--refit", "--json")
    assert found.code == 0
    checks = {check["name"]: check["ok"] for check in found.json["checks"]}
    assert checks["public"] and checks["refit"]


def test_the_statement_and_the_datasheet_name_the_table(made, release):
    plan = Plan.load(release / "plan.json")
    assert plan.public.sha256 == file_sha256(made / "others.csv")
    text = (release / "dp_statement.json").read_text()
    assert plan.public.sha256 in text and "public-table-apart" in text
    assert "made up; CC0-1.0" in (release / "DATASHEET.md").read_text()


def test_a_release_holds_counts_of_the_table_and_no_row(release):
    _, arrays = read_arrays(release / PUBLIC)
    plan = Plan.load(release / "plan.json")
    assert set(arrays) <= {"columns", "pairs", "triples"}
    assert int(arrays["columns"][: plan.encoding.num_classes].sum()) == 500


def change(release: Path, made: Path, by) -> None:
    header, arrays = read_arrays(release / PUBLIC)
    (release / PUBLIC).write_bytes(pack_arrays(header, by(dict(arrays))))
    sign_again(release, load_private_key(made / "run" / "coordinator.key"))


def test_other_counts_of_as_many_rows_give_another_generator(made, release, capsys):
    encoding = Plan.load(release / "plan.json").encoding

    def swapped(arrays):
        columns = arrays["columns"].copy()
        for block in encoding.features:
            span = slice(encoding.num_classes + block.start, None)
            columns[span][: block.size] = columns[span][: block.size][::-1].copy()
        return {**arrays, "columns": columns}

    change(release, made, swapped)
    assert failed(capsys, release, "--refit") == {"refit"}


@pytest.mark.parametrize(
    "by",
    [
        lambda arrays: {**arrays, "columns": arrays["columns"] * 2},
        lambda arrays: {**arrays, "columns": -arrays["columns"]},
        lambda arrays: {**arrays, "columns": arrays["columns"][1:]},
        lambda arrays: {"columns": arrays["columns"]},
        lambda arrays: {**arrays, "rows": arrays["columns"]},
        lambda arrays: {**arrays, "columns": arrays["columns"].astype(float)},
    ],
)
def test_what_cannot_be_the_counts_of_a_table_is_refused(made, release, capsys, by):
    change(release, made, by)
    assert failed(capsys, release) == {"public"}


def test_a_release_without_the_counts_is_refused(made, release, capsys):
    (release / PUBLIC).unlink()
    sign_again(release, load_private_key(made / "run" / "coordinator.key"))
    assert "public" in failed(capsys, release)


def test_a_steward_reads_that_a_public_table_takes_part(made):
    plan = Plan.load(made / "run" / "plan.json")
    check_plan(plan)
    text = "\n".join(in_plain_words(plan, site="north"))
    assert "others.csv" in text and "made up; CC0-1.0" in text and plan.public.sha256 in text


def test_another_file_under_the_name_is_not_read(made, tmp_path):
    plan = Plan.load(made / "run" / "plan.json")
    table(500, seed=10).to_csv(tmp_path / "others.csv", index=False)
    with pytest.raises(ConfigError):
        read_public_table(plan, tmp_path)
    (tmp_path / "others.csv").unlink()
    with pytest.raises(ConfigError):
        read_public_table(plan, tmp_path)


def test_an_empty_field_is_a_missing_value(tmp_path, made):
    plan = Plan.load(made / "run" / "plan.json")
    shutil.copy(made / "others.csv", tmp_path)
    public = read_public_table(plan, tmp_path)
    ages, block = public.features[:, 0], plan.encoding.features[0]
    assert (ages == block.size - 2).sum() == table(500, seed=9)["age"].isna().sum() > 0
    assert not (ages == block.size - 1).any()


def test_another_table_makes_another_plan(tmp_path):
    digests = set()
    for seed in (1, 2):
        federation = study(tmp_path)
        table(500, seed=seed).to_csv(tmp_path / "others.csv", index=False)
        digests.add(load_study(federation.study)[0].digest())
    assert len(digests) == 2


def test_a_check_of_the_study_names_the_table(tmp_path):
    federation = study(tmp_path)
    found = cli("study", "check", federation.study, "--json")
    assert found.json["public_data"] == file_sha256(tmp_path / "others.csv")
    assert "others.csv" in cli("study", "check", federation.study).out


def test_a_table_of_other_values_is_refused(tmp_path):
    federation = study(tmp_path)
    table(500).assign(sex="none of both").to_csv(tmp_path / "others.csv", index=False)
    assert federation.simulate(tmp_path / "run").code == DataError.exit_code


@pytest.mark.parametrize(
    "more",
    [
        "[public]\n",
        '[public]\ntable = "others.csv"\n',
        '[public]\ntable = "nowhere.csv"\nsource = "x"\n',
        '[public]\ntable = "others.csv"\nrelease = "r"\nsource = "x"\n',
        '[public]\nrelease = "nowhere"\n',
        TABLE + f'sha256 = "{"0" * 64}"\n',
    ],
)
def test_a_section_that_names_no_one_source_is_refused(tmp_path, more):
    with pytest.raises(StudyError):
        load_study(study(tmp_path, more).study)


def test_a_mixture_takes_no_public_table(tmp_path):
    with pytest.raises(StudyError):
        load_study(study(tmp_path, model="mixture").study)


def test_an_earlier_release_serves_as_prior_and_is_named(made, release, tmp_path):
    later = study(tmp_path / "later", f'[public]\nrelease = "{release}"\n', rows=150)
    assert later.simulate(tmp_path / "run").code == 0
    plan = Plan.load(tmp_path / "run" / "plan.json")
    assert plan.public.manifest == file_sha256(release / "manifest.json")
    text = "\n".join(in_plain_words(plan, site="north"))
    assert plan.public.manifest in text and plan.public.sha256 not in text
    assert plan.public.sha256 == file_sha256(release / "data" / "synthetic.csv")
    assert cli("release", "build", tmp_path / "run", "--out", tmp_path / "second").code == 0
    assert cli("release", "verify", tmp_path / "second", "--refit").code == 0
    assert "earlier-release" in (tmp_path / "second" / "dp_statement.json").read_text()
    assert "Since the earlier release" in (tmp_path / "second" / "report.html").read_text()


def test_a_release_that_was_changed_serves_no_one(release, tmp_path):
    later = study(tmp_path / "later", f'[public]\nrelease = "{release}"\n', rows=150)
    rows = release / "data" / "synthetic.csv"
    rows.write_text(rows.read_text() + "3,female,no\n")
    assert later.simulate(tmp_path / "run").code == 4
