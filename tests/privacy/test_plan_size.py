from __future__ import annotations

import msgspec
import pytest

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.models import build_model
from fedloom.common.models.private_model import count_parameters
from fedloom.common.models.registry import VaeSettings, num_parameters
from fedloom.common.schema import Column, Schema
from fedloom.common.study import StatisticsSettings, load_study
from fedloom.common.vocabulary import Engine
from fedloom.privacy.plan_size import (
    check_statistics_size,
    check_training_size,
    expected_seconds,
    limits_of_training,
    noise_warnings,
)
from fedloom.privacy.resolve import resolve_plan
from tests.conftest import ROOT
from tests.federation import make


def resolved(folder, model, *, records=None, epsilon=8.0):
    federation = make(folder, model, epsilon=epsilon)
    text = federation.study.read_text()
    for name, number in (records or {}).items():
        text = text.replace(f'name = "{name}"', f'name = "{name}"\nrecords = {number}')
    federation.study.write_text(text)
    return resolve_plan(*load_study(federation.study), version="0.1.0")


@pytest.mark.parametrize("model", ["weights", "gan"])
def test_parameters_are_counted_without_torch_as_with_it(tmp_path, model):
    plan = resolved(tmp_path, model)
    built = build_model(plan.model, plan.encoding)
    assert num_parameters(plan.model, plan.encoding) == count_parameters(built)


@pytest.mark.parametrize("study", ["study.toml", "study-gan.toml"])
def test_parameters_of_the_examples(study):
    from fedloom.common.encoding import Encoding

    agreed, schema = load_study(ROOT / "examples" / "rand" / study)
    encoding = Encoding(schema, agreed.target)
    built = build_model(agreed.model, encoding)
    assert num_parameters(agreed.model, encoding) == count_parameters(built)


def test_a_drowned_site_is_named_with_its_effective_noise(tmp_path):
    lines = noise_warnings(resolved(tmp_path, "weights", records={"north": 5, "south": 100_000}))
    assert len(lines) == 2
    assert "'north' with 5 records" in lines[0] and "effective noise" in lines[0]
    assert "all 2 sites together, 100,005 records" in lines[1] and "useful" in lines[1]


def test_a_federation_that_is_drowned_as_a_whole_is_told_what_to_do(tmp_path):
    lines = noise_warnings(resolved(tmp_path, "weights", records={"north": 5, "south": 5}))
    assert len(lines) == 3
    assert "raise epsilon" in lines[-1] and 'kind = "mixture"' in lines[-1]


def test_sizes_that_are_not_declared_are_answered_with_a_threshold(tmp_path):
    (line,) = noise_warnings(resolved(tmp_path / "a", "weights"))
    assert "declares no size" in line and "all 2 sites together" in line
    lines = noise_warnings(resolved(tmp_path / "b", "weights", records={"north": 5}))
    assert len(lines) == 2 and "'north'" in lines[0] and "declares no size" in lines[1]


def test_nothing_speaks_against_large_sites_or_a_mixture(tmp_path):
    large = {"north": 10**6, "south": 10**6}
    assert noise_warnings(resolved(tmp_path / "a", "weights", records=large)) == []
    assert noise_warnings(resolved(tmp_path / "b", "mixture")) == []


def test_more_budget_means_less_effective_noise(tmp_path):
    def threshold(epsilon):
        (line,) = noise_warnings(resolved(tmp_path / str(epsilon), "weights", epsilon=epsilon))
        return int(line.split("from about ")[1].split(" ")[0].replace(",", ""))

    assert threshold(0.5) > threshold(8.0)


@pytest.mark.parametrize("model", ["mixture", "weights", "gradients", "gan"])
def test_a_time_is_expected(tmp_path, model):
    assert 0 < expected_seconds(resolved(tmp_path, model)) < 60


def test_statistics_and_models_that_do_not_fit_the_memory_are_refused(tmp_path):
    plan = resolved(tmp_path, "weights")
    encoding, training = plan.encoding, plan.training.settings
    statistics = plan.statistics_settings
    check_statistics_size(encoding, statistics)
    check_training_size(encoding, plan.model, training)
    label = Column(name="label", kind="category", values=tuple(f"v{n}" for n in range(1000)))
    columns = [
        Column(name=f"c{number}", kind="integer", minimum=0, maximum=10**9, bins=1024)
        for number in range(60)
    ]
    wide = Schema((label, *columns))
    with pytest.raises(StudyError, match="GB.*fewer bins.*c0"):
        check_statistics_size(Encoding(wide, "label"), statistics)
    many = Schema(
        tuple(
            Column(name=f"c{number}", kind="category", values=("a", "b")) for number in range(400)
        )
    )
    with pytest.raises(StudyError, match="79,800 pairs .* memory_mb = 1"):
        small = StatisticsSettings(kind="pairwise", memory_mb=1)
        check_statistics_size(Encoding(many), small)
    with pytest.raises(StudyError, match="GB.*max_physical_batch.*hidden"):
        check_training_size(
            encoding,
            VaeSettings(hidden=65_536),
            msgspec.structs.replace(training, engine=Engine.OPACUS),
        )


def test_a_report_says_when_noise_drowned_the_training(tmp_path):
    plan = resolved(tmp_path / "a", "weights")
    (said,) = limits_of_training(plan, 5.0)
    assert "drowned" in said and repr(plan.target) in said
    assert limits_of_training(plan, 1e9) == []
    assert limits_of_training(resolved(tmp_path / "b", "mixture"), 5.0) == []
