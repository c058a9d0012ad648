"""The examples of the Python interface, as a notebook would run them."""

from __future__ import annotations

import inspect
import typing

import pandas as pd
import pytest

import fedloom
from fedloom.common.errors import BudgetExceededError, ConfigError, DataError, FedloomError
from fedloom.common.study import load_study
from tests.federation import Federation, make, table


@pytest.fixture(scope="module")
def federation(tmp_path_factory) -> Federation:
    return make(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def run(federation, tmp_path_factory) -> fedloom.Run:
    tables = {"north": federation.data("north"), "south": table(100)}
    return fedloom.simulate(federation.study, tables, out=tmp_path_factory.mktemp("out") / "run")


def test_the_example_of_the_documentation(federation, tmp_path):
    run = fedloom.simulate(federation.study, {"north": federation.data("north"), "south": table(9)})
    sample = run.sample(1000, where={"visited": "yes"})
    assert len(sample) == 1000 and set(sample["visited"]) == {"yes"}
    release = run.release(tmp_path / "release")
    assert fedloom.verify(release) is not None


def test_a_run_tells_what_it_cost_and_what_was_done(run):
    assert 0 < run.epsilon <= 8.0
    assert run.plan.name == "tiny"
    assert list(run.metrics["round"]) == [1, 2] and run.metrics["sites"][0] == ["north", "south"]
    assert (run.path / "plan.json").is_file()


def test_a_sample_has_the_columns_types_and_order_of_the_schema(run):
    sample = run.sample(200, seed=1)
    assert list(sample.columns) == ["age", "sex", "visited"]
    assert sample["age"].dtype == "Int64" and sample["age"].isna().any()
    assert sample["age"].dropna().between(0, 9).all()
    assert set(sample["sex"]) == {"female", "male"}


def test_a_seed_repeats_a_sample_and_none_does_not(run):
    first, again = run.sample(50, seed=3), run.sample(50, seed=3)
    pd.testing.assert_frame_equal(first, again)
    assert not run.sample(50).equals(run.sample(50))


def test_a_condition_that_cannot_be_met_is_said(run):
    with pytest.raises(ConfigError, match="visited"):
        run.sample(10, where={"visited": "perhaps"})
    with pytest.raises(ConfigError, match="height"):
        run.sample(10, where={"height": 3})


def test_a_run_is_found_again_by_its_folder(run):
    assert fedloom.Run(run.path).epsilon == run.epsilon
    assert fedloom.Run(str(run.path)).sample(3).shape == (3, 3)
    with pytest.raises(ConfigError, match="no run"):
        fedloom.Run(run.path.parent)


def test_a_study_can_be_given_as_values(federation, tmp_path):
    study, schema = load_study(federation.study)
    tables = {"north": table(50, seed=1), "south": table(50, seed=2)}
    run = fedloom.simulate(study, tables, schema=schema, out=tmp_path / "run")
    assert len(run.sample(5)) == 5
    with pytest.raises(TypeError, match="schema"):
        fedloom.simulate(study, tables)


def test_homes_that_live_on_keep_their_budget(federation, tmp_path):
    tables = {"north": table(50, seed=1), "south": table(50, seed=2)}
    homes = {name: tmp_path / name for name in tables}
    fedloom.simulate(federation.study, tables, out=tmp_path / "one", homes=homes)
    with pytest.raises(BudgetExceededError, match="nothing was spent") as caught:
        fedloom.simulate(federation.study, tables, out=tmp_path / "two", homes=homes)
    assert caught.value.exit_code == 3


def test_records_that_do_not_fit_are_an_error_or_clamped(federation, tmp_path):
    odd = table(50)
    odd.loc[3, "age"] = 93
    tables = {"north": table(50), "south": odd}
    with pytest.raises(DataError, match="table of south.*age"):
        fedloom.simulate(federation.study, tables, out=tmp_path / "run")
    fedloom.simulate(federation.study, tables, out=tmp_path / "run", clamp=True)


def test_progress_is_told(federation, tmp_path):
    told = []
    tables = {"north": table(50), "south": table(60)}
    fedloom.simulate(federation.study, tables, out=tmp_path / "run", on_event=told.append)
    assert [event["event"] for event in told] == ["start", "round", "design", "round", "done"]


def test_the_interface_is_typed_and_documented():
    for thing in (fedloom.simulate, fedloom.verify, fedloom.Run.sample, fedloom.Run.release):
        assert inspect.getdoc(thing)
        hints = inspect.signature(thing).parameters.values()
        assert all(p.name == "self" or p.annotation is not inspect.Parameter.empty for p in hints)
    assert typing.get_type_hints(fedloom.Run.sample)["return"] is pd.DataFrame
    assert issubclass(BudgetExceededError, FedloomError)
