"""Whole runs in one process, every model and exchange; slow ones on real data."""

from __future__ import annotations

import json
import stat

import pytest

from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.study import load_study
from fedloom.privacy.ledger import read_ledger
from fedloom.simulation import prepare, run_prepared
from tests.conftest import ROOT
from tests.federation import SITES, cli, make, make_home


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients", "gan"])
def test_every_model_comes_to_its_end_at_the_plans_price(tmp_path, model):
    federation = make(tmp_path / "study", model)
    done = federation.simulate(tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["state"] == "done" and done.json["epsilon"] <= 8.0
    assert (done.json["warnings"] == []) is (model == "mixture")
    for site in SITES:
        budget = read_ledger(tmp_path / "run" / "sites" / site).budget()
        assert budget["epsilon_spent"] == pytest.approx(done.json["epsilon"], rel=1e-9)
        assert budget["rehearsal"] is True and budget["insecure_noise"] is False
    sampled = cli("sample", tmp_path / "run", "--rows", 20, "--out", tmp_path / "rows.csv")
    assert sampled.code == 0, sampled.err


def test_what_a_run_leaves_is_closed_where_it_must_be(tmp_path):
    assert make(tmp_path / "study").simulate(tmp_path / "run").code == 0
    for site in SITES:
        home = tmp_path / "run" / "sites" / site
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        for path in home.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "run" / "coordinator.key").stat().st_mode) == 0o600
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.fixture
def parts(tmp_path):
    federation = make(tmp_path / "study")
    tables = {name: federation.data(name) for name in SITES}
    return (*load_study(federation.study), tables)


def test_preparing_again_finds_what_was_made(parts, tmp_path):
    first = prepare(*parts, out=tmp_path / "run", homes={})
    again = prepare(*parts[:2], {}, out=tmp_path / "run", homes={}, resume=True)
    assert first.state() == again.state()
    run_prepared(again)
    run_prepared(again)
    assert again.done()


def test_a_run_resumes_with_the_homes_that_it_began_with(parts, tmp_path):
    homes = {"north": tmp_path / "north"}
    prepare(*parts, out=tmp_path / "run", homes=homes)
    with pytest.raises(ConfigError, match="same homes"):
        prepare(*parts, out=tmp_path / "run", homes={"north": tmp_path / "other"}, resume=True)
    run_prepared(prepare(*parts, out=tmp_path / "run", homes={}, resume=True))
    assert not (tmp_path / "run" / "sites" / "north").exists()
    assert read_ledger(tmp_path / "north").budget()["epsilon_spent"] > 0


def test_a_home_of_another_site_is_refused(parts, tmp_path):
    make_home(tmp_path / "home", "west")
    with pytest.raises((ConfigError, StudyError), match="west"):
        prepare(*parts, out=tmp_path / "run", homes={"north": tmp_path / "home"})


def test_a_folder_with_other_things_is_not_made_a_home(parts, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="not empty"):
        prepare(*parts, out=tmp_path / "run", homes={"north": tmp_path / "full"})


def test_metrics_and_tensorboard_tell_post_processing(parts, tmp_path):
    folder = prepare(*parts, out=tmp_path / "run", homes={})
    run_prepared(folder)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert set(lines[0]) == {"round", "query", "sites"}
    assert set(lines[1]) == {"round", "query", "sites", "distance", "epsilon"}
    assert any((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("study", ["study.toml", "study-gan.toml", "study-mixture.toml"])
def test_the_examples_run_on_real_tables(tmp_path, study):
    example = ROOT / "examples" / "rand"
    agreed, _ = load_study(example / study)
    pairs = [f"--site={site.name}={example / site.name}.csv.gz" for site in agreed.sites]
    done = cli("simulate", example / study, *pairs, "--out", tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert done.json["epsilon"] <= 3.0
