"""Building a release: complete, verified, atomic, and nothing private in it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import fedloom
from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, VerificationError
from fedloom.common.sampling import sample
from fedloom.common.schema import Column, Schema
from fedloom.common.study import parse_study
from fedloom.privacy.release import build_release
from fedloom.privacy.release.build import default_rows
from fedloom.privacy.release.verify import verify_release
from fedloom.privacy.resolve import resolve_plan

EXPECTED = {
    "answers/marginals.parquet",
    "answers/round-0001.safetensors",
    "answers/round-0002.safetensors",
    "DATASHEET.md",
    "LICENSE",
    "README.md",
    "codebook.json",
    "codebook.md",
    "data/synthetic.csv",
    "data/synthetic.parquet",
    "dp_statement.json",
    "generator/config.json",
    "generator/model.safetensors",
    "ledger/north.json",
    "ledger/south.json",
    "manifest.json",
    "manifest.sig",
    "plan.json",
    "report.html",
    "schema.json",
}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_release_holds_exactly_what_it_should_and_verifies(finished_run, tmp_path):
    release = build_release(finished_run, tmp_path / "release")
    assert files_of(release) == EXPECTED
    assert verify_release(release).ok
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_rows_are_the_noisy_total_in_two_digits_unless_the_study_says(
    finished_run, tmp_path, fake, site_keys, plan
):
    release = build_release(finished_run, tmp_path / "release")
    rows = pd.read_parquet(release / "data" / "synthetic.parquet")
    assert len(rows) % 100 == 0 and 1800 <= len(rows) <= 2200
    keys = {site.name: site.key for site in plan.sites}
    asked = fake.make_plan(keys, release={"rows": 123, "title": "Ours", "licence": "CC-BY-4.0"})
    run = fake.write_run(tmp_path / "asked", asked, site_keys)
    release = build_release(run, tmp_path / "asked-release")
    assert len(pd.read_csv(release / "data" / "synthetic.csv")) == 123
    assert "creativecommons.org/licenses/by/4.0" in (release / "LICENSE").read_text("utf-8")
    assert (release / "README.md").read_text("utf-8").startswith("# Ours\n")


@pytest.mark.parametrize("total, rows", [(0.0, 1), (7.2, 7), (99.6, 100), (5638.4, 5600)])
def test_default_rows(total, rows):
    assert default_rows(total) == rows


def test_generator_of_a_release_draws_the_same_rows_as_that_of_the_run(finished_run, tmp_path):
    release = build_release(finished_run, tmp_path / "release", seed=4)
    schema = Schema.from_dict(json.loads((release / "schema.json").read_text("utf-8")))
    published = pd.read_parquet(release / "data" / "synthetic.parquet")
    again = sample(Artifact.load(release / "generator"), schema, "visited", len(published), seed=4)
    pd.testing.assert_frame_equal(published, again, check_dtype=False)


def test_a_run_that_is_not_done_gives_no_release(finished_run, tmp_path):
    state = json.loads((finished_run / "run.json").read_text("utf-8"))
    (finished_run / "run.json").write_text(json.dumps({**state, "state": "running"}), "utf-8")
    with pytest.raises(ConfigError, match="not done"):
        build_release(finished_run, tmp_path / "release")
    assert not (tmp_path / "release").exists()


def test_a_run_that_completed_a_schema_has_nothing_to_release(finished_run, tmp_path):
    schema = Schema(
        (Column("sex", "category", values=("0", "1")), Column("fee", "real", open=True))
    )
    raw = {
        "study": {"name": "toy", "schema": "schema.toml"},
        "privacy": {"epsilon": 0.5, "delta": 1e-6},
        "model": {"kind": "schema"},
        "site": [{"name": "north"}, {"name": "south"}],
    }
    plan = resolve_plan(parse_study(raw, schema), schema, version=fedloom.__version__)
    plan.save(finished_run / "plan.json")
    state = json.loads((finished_run / "run.json").read_text("utf-8"))
    (finished_run / "run.json").write_text(json.dumps({**state, "plan": plan.digest()}), "utf-8")
    with pytest.raises(ConfigError, match="completed a schema"):
        build_release(finished_run, tmp_path / "release")


def test_an_existing_folder_is_left_alone(finished_run, tmp_path):
    (tmp_path / "release").mkdir()
    with pytest.raises(ConfigError, match="never changes"):
        build_release(finished_run, tmp_path / "release")


def test_an_altered_extract_or_plan_gives_no_release_and_leaves_nothing(finished_run, tmp_path):
    path = finished_run / "extracts" / "north.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"site": "north"', '"site": "morth"'), "utf-8")
    with pytest.raises(VerificationError):
        build_release(finished_run, tmp_path / "release")
    path.write_text(text, "utf-8")
    plan = (finished_run / "plan.json").read_text("utf-8")
    (finished_run / "plan.json").write_text(plan.replace('"toy"', '"boy"'), "utf-8")
    with pytest.raises(VerificationError, match="not the plan"):
        build_release(finished_run, tmp_path / "release")
    assert files_of(tmp_path / "release") == set() and list(tmp_path.glob(".*")) == []


def test_no_document_promises_what_cannot_be_known(finished_run, tmp_path):
    release = build_release(finished_run, tmp_path / "release")
    for name in files_of(release):
        if name.endswith((".md", ".html", ".json", "LICENSE")):
            text = (release / name).read_text("utf-8").lower()
            assert "anonym" not in text and "complian" not in text and "no risk" not in text


def test_documents_say_rehearsal_and_how_to_verify(finished_run, tmp_path):
    release = build_release(finished_run, tmp_path / "release")
    readme = (release / "README.md").read_text("utf-8")
    assert "fedloom release verify" in readme and "fedloom sample" in readme
    assert "covers this run alone" in readme
    assert "covers this run alone" in (release / "DATASHEET.md").read_text("utf-8")
    statement = json.loads((release / "dp_statement.json").read_text("utf-8"))
    assert statement["rehearsal"]["sites"] == ["north", "south"]
