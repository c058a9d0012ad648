from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedloom.common.errors import StudyError
from fedloom.common.models.registry import GanGradients, VaeGradients
from fedloom.common.study import load_study
from fedloom.common.typed import read_typed
from fedloom.privacy import calibration
from fedloom.privacy.accounting import epsilon_pld
from fedloom.privacy.resolve import resolve_plan
from tests.federation import make
from tests.plans import edited


def resolved(folder: Path, model: str = "weights", **changes):
    return resolve_plan(*load_study(make(folder, model, **changes).study), version="0.1.2")


def look(plan):
    return plan.rounds[0].params["noise_multiplier"]


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients", "gan"])
@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_the_noise_meets_the_budget_and_wastes_little(tmp_path, model, epsilon):
    plan = resolved(tmp_path, model, epsilon=epsilon)
    price = plan.stated_price
    assert 0.999 * epsilon < price.epsilon <= epsilon
    assert price.epsilon <= price.epsilon_rdp + 1e-3
    assert epsilon_pld([plan.event()], plan.delta) <= epsilon


def test_less_noise_would_be_too_little(tmp_path):
    """The twin: a tenth of a percent less noise on one phase, and the budget is broken."""
    plan = resolved(tmp_path)
    for number, phase in enumerate(plan.phases):
        noise_multiplier = 0.99 * phase.noise_multiplier
        quiet = edited(plan, ("phases", number, "noise_multiplier"), noise_multiplier)
        assert quiet.price().epsilon > plan.privacy.epsilon


def test_sampled_rounds_are_calibrated_too(tmp_path):
    federation = make(tmp_path, "weights", epsilon=2.0)
    federation.edit("sample_rate = 1.0", "sample_rate = 0.3")
    plan = resolve_plan(*load_study(federation.study), version="0.1.2")
    assert 1.99 < plan.stated_price.epsilon <= 2.0
    assert plan.rounds[1].params["sample_rate"] == 0.3


def test_the_share_moves_the_noise_between_phases(tmp_path):
    few = resolved(tmp_path / "few", more="[statistics]\nshare = 0.05\n")
    many = resolved(tmp_path / "many", more="[statistics]\nshare = 0.5\n")
    assert look(few) > look(many)
    assert few.training.noise_multiplier < many.training.noise_multiplier


def test_the_plan_holds_everything_and_the_same_study_gives_the_same_plan(tmp_path):
    first, again = resolved(tmp_path / "a"), resolved(tmp_path / "b")
    assert first.digest() == again.digest()
    assert first.fedloom == "0.1"
    assert (first.min_sites, first.coordination.timeout_s) == (2, 3600.0)
    assert set(first.training.to_plain()["settings"]) >= {
        "num_rounds",
        "engine",
        "optimizer",
        "max_physical_batch",
    }


def test_what_does_not_change_the_meaning_does_not_change_the_digest(tmp_path):
    first = resolved(tmp_path / "a")
    federation = make(tmp_path / "b", "weights")
    federation.edit("[study]", "# a comment\n\n[study]")
    assert resolve_plan(*load_study(federation.study), version="0.1.9").digest() == first.digest()
    assert resolve_plan(*load_study(federation.study), version="0.2.0").digest() != first.digest()


def test_declared_sizes_set_the_normaliser(tmp_path):
    federation = make(tmp_path, "weights")
    text = federation.study.read_text()
    for name, records in (("north", 100), ("south", 300)):
        text = text.replace(f'name = "{name}"', f'name = "{name}"\nrecords = {records}')
    federation.study.write_text(text)
    plan = resolve_plan(*load_study(federation.study), version="0.1.0")
    assert plan.training.normaliser == 200.0  # the mean size at a sampling rate of one


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("num_rounds = 2", "num_rounds = 0", "num_rounds"),
        ("num_rounds = 2", "num_rounds = 2.5", "num_rounds"),
        ("num_rounds = 2", "rounds = 2", "unknown key 'rounds'"),
        ("sample_rate = 1.0", "sample_rate = 1.5", "sample_rate"),
        ("sample_rate = 1.0", "sample_rate = 0.0", "sample_rate"),
        ("sample_rate = 1.0", "sample_rate = nan", "sample_rate"),
        ('engine = "fused"', "[coordination]\nmin_sites = 3", "min_sites"),
        ('engine = "fused"', "[coordination]\ntimeout_s = 0.0", "timeout_s"),
        ("sample_rate = 1.0", "optimizer = 3", "optimizer"),
        ('engine = "fused"', 'engine = "jax"', "engine"),
        ('engine = "fused"', "[statistics]\nshare = 1.5", "share"),
        ('engine = "fused"', "[statistics]\nshare = 1e-5", "share"),
        (
            "num_rounds = 2\nlocal_steps = 2",
            "num_rounds = 100000\nlocal_steps = 11",
            "num_rounds times local_steps",
        ),
        ('engine = "fused"', "[coordination]\ntimeout_s = 1e7", "timeout_s"),
        ("hidden = 8", "hidden = 8\nbeta = 1e4", "beta"),
        ("hidden = 8", "hidden = 0", "hidden"),
        ("hidden = 8", "hidden = -1", "hidden"),
        ('"weights"', '"gradients"', "local_steps"),
        ('"weights"', '"letters"', "exchange"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path, old, new, words):
    federation = make(tmp_path, "weights")
    federation.edit(old, new)
    with pytest.raises(StudyError, match=words):
        resolve_plan(*load_study(federation.study), version="0.1.0", where=federation.study)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (GanGradients, "generator_decay = 1.5"),
        (GanGradients, "generator_steps = 100001"),
        (GanGradients, "generator_learning_rate = 0.0"),
        (VaeGradients, "average_decay = 1.1"),
        (GanGradients, "critic_steps = 0"),
    ],
)
def test_a_setting_of_one_model_has_its_range_too(kind, line):
    key, value = line.split(" = ")
    number = float(value) if "." in value else int(value)
    with pytest.raises(StudyError, match=f"{key} = .* must be"):
        read_typed({key: number}, kind, where="[training]", error=StudyError)


def test_a_mixture_has_no_training(tmp_path):
    federation = make(tmp_path, "mixture", more="[training]\nnum_rounds = 3\n")
    with pytest.raises(StudyError, match="study.toml.*no training rounds"):
        resolve_plan(*load_study(federation.study), version="0.1.0", where=federation.study)


def test_noise_is_searched_once_and_a_cache_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = resolved(tmp_path / "study")
    entry = next((tmp_path / "cache" / "fedloom" / "noise").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(calibration, "_search", lambda *_: pytest.fail("searched again"))
        assert resolved(tmp_path / "study").digest() == first.digest()
    lies = (
        '{"one-way": 0.01, "training": 0.01}',
        '{"one-way": 1.0}',
        "[1.0, 1.0]",
        "nonsense",
        '{"one-way": NaN, "training": 1}',
    )
    for lie in lies:
        entry.write_text(lie)
        assert resolved(tmp_path / "study").digest() == first.digest()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert resolved(tmp_path / "study").privacy.epsilon == 8.0
