"""A kind of record that this file alone knows goes from a site's frame to synthetic records.

A record is a vector of bounded numbers beside a label. Schema, snapshot, statistic, learner and
sampler of the kind are below; nothing else is edited, only entries are added to registries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from msgspec import Meta

import fedloom
from fedloom.client.home import Home
from fedloom.client.records import freeze, load_records
from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import DataError, ReleaseError, SchemaError, StudyError
from fedloom.common.models.registry import MODELS, ModelKind, ModelSettings
from fedloom.common.records import RECORDS, Coded, RecordKind, RecordSettings
from fedloom.common.sampling.draw import UNIT_ROWS
from fedloom.common.sampling.tally import Tally
from fedloom.common.schema import Schema
from fedloom.common.statistic_kinds import STATISTICS, StatisticKind
from fedloom.common.study import StatisticsSettings, load_study
from fedloom.privacy.measures import Measures, statistic_draft
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.binning import Design
from fedloom.server.learners import State
from tests.federation import cli

HERE = __name__
COLUMN = "vector"
FILE = "data/vectors.parquet"
SCHEMA = """
[vector]
length = 3

[[column]]
name = "group"
kind = "category"
values = ["a", "b"]
"""
CENTRES = {"a": np.array([0.5, 0.0, -0.5]), "b": np.array([-0.5, 0.2, 0.4])}


class VectorSettings(RecordSettings, frozen=True, kw_only=True):
    """Vectors of numbers, each in [-1, 1]."""

    kind: ClassVar[str] = "vector"

    length: Annotated[int, Meta(ge=1, le=1000)]


class VectorCoder:
    """Vectors as they are, clipped to [-1, 1]; the label beside them."""

    def __init__(self, schema: Schema, target: str | None) -> None:
        self.label = Encoding(schema, target)
        assert isinstance(schema.records, VectorSettings)
        self.record_shape = (schema.records.length,)
        self.record_type = "float32"

    def coded(self, private_frame: pd.DataFrame) -> Coded:
        if COLUMN not in private_frame:
            raise DataError(f"no column {COLUMN!r}")
        label = self.label.coded(private_frame)
        vectors = [np.asarray(cell, dtype=np.float32) for cell in private_frame[COLUMN]]
        features = np.array(vectors, dtype=np.float32).reshape(-1, *self.record_shape)
        return Coded(
            features=np.clip(np.nan_to_num(features), -1.0, 1.0),
            classes=label.classes,
            clamped={COLUMN: int((np.abs(features) > 1.0).any(axis=1).sum())},
            unknown=label.unknown,
        )


def load(source: pd.DataFrame, schema: Schema, *, id_column: str | None = None) -> pd.DataFrame:
    beside = [] if id_column is None else [id_column]
    return source[[*schema.names, COLUMN, *beside]].reset_index(drop=True)


class VectorSums:
    """Of each class, its records and the sum of their vectors; L2 norm sqrt(1 + length)."""

    def __init__(self, coder: VectorCoder) -> None:
        (self.size,) = coder.record_shape
        self.num_classes = coder.label.num_classes
        self.length = self.num_classes * (1 + self.size)
        self.l2_norm = math.sqrt(1 + self.size)

    def sum(self, features: Any, classes: Any) -> Any:
        total = np.zeros((self.num_classes, 1 + self.size))
        np.add.at(total[:, 0], classes, 1.0)
        np.add.at(total[:, 1:], classes, features.astype(np.float64))
        return total.reshape(-1)


class NormalSettings(ModelSettings, tag_field="kind", tag="normal", frozen=True, kw_only=True):
    spread: Annotated[float, Meta(gt=0.0)] = 0.1


@dataclass(frozen=True, kw_only=True)
class NoisyVectors:
    """What the coordinator knows."""

    counts: Any
    means: Any
    site_totals: dict[str, float]

    def total(self) -> float:
        return max(1.0, float(self.counts.sum()))


def measures(study: Any, coder: VectorCoder) -> Measures:
    sums = VectorSums(coder)
    draft = statistic_draft(
        study, "vector-sums", share=1.0, record_norm=sums.l2_norm, max_cells=sums.length
    )
    return Measures(settings=StatisticsSettings(), drafts=[draft])


def read(plan: Any, rounds: Any) -> NoisyVectors:
    sums = VectorSums(plan.coder)
    rows = rounds[0].values().reshape(sums.num_classes, 1 + sums.size)
    counts = np.maximum(rows[:, 0], 1.0)
    return NoisyVectors(counts=counts, means=rows[:, 1:] / counts[:, None], site_totals={})


def design(plan: Any, asked: Any, opened: Any) -> Design:
    return Design()


class NormalLearner:
    def __init__(self, model: NormalSettings, training: Any, coder: Any, *, num_sites: int) -> None:
        self.spread, self.classes = model.spread, np.array(coder.label.class_sampleable)

    def initialise(self, statistics: NoisyVectors, seed: int) -> State:
        prior = np.where(self.classes, statistics.counts, 0.0)
        return State(
            arrays={
                "class_prior": prior / prior.sum(),
                "means": np.clip(statistics.means, -1.0, 1.0),
            }
        )

    def export(self, state: State) -> Artifact:
        return Artifact(kind="normal", config={"spread": self.spread}, arrays=dict(state.arrays))


class VectorSampler:
    def __init__(self, artifact: Artifact, schema: Schema, target: str, where: Any) -> None:
        self.artifact, self.label = artifact, Encoding(schema, target)

    def rows(self, count: int, rng: np.random.Generator) -> tuple[VectorRows, Tally]:
        prior, means = self.artifact.arrays["class_prior"], self.artifact.arrays["means"]
        classes = rng.choice(len(prior), size=count, p=prior / prior.sum())
        noise = rng.normal(0.0, self.artifact.config["spread"], (count, means.shape[1]))
        nothing = np.zeros((count, 0), dtype=np.int32)
        frame = self.label.decode(nothing, classes, rng)
        frame[COLUMN] = list(np.clip(means[classes] + noise, -1.0, 1.0))
        return VectorRows(frame), Tally(rows=count, drawn=count)


@dataclass(frozen=True)
class VectorRows:
    made: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        return self.made


def distance(artifact: Artifact, statistics: NoisyVectors) -> float:
    apart = np.abs(artifact.arrays["means"] - statistics.means).mean(axis=1)
    return float(np.average(np.minimum(apart / 2, 1.0), weights=statistics.counts))


class VectorFiles:
    """Vectors and labels in one Parquet file, a list in each cell."""

    sizes: ClassVar = {FILE: 1 << 30}
    formats: ClassVar = {"parquet": FILE}
    main: ClassVar = FILE

    def write(self, frame: pd.DataFrame, folder: Path) -> None:
        (folder / "data").mkdir()
        frame.to_parquet(folder / FILE, compression=None)

    def check(self, folder: Path, encoding: Encoding, rows: int, on_rows: Any) -> str:
        frame = pd.read_parquet(folder / FILE)
        if len(frame) != rows or np.abs(np.stack(list(frame[COLUMN]))).max() > 1.0:
            raise ReleaseError("not such vectors")
        return f"{rows} vectors"

    def pieces(self, folder: Path, schema: Schema, rows: int) -> Iterator[pd.DataFrame]:
        frame = pd.read_parquet(folder / FILE)
        yield from (frame[at : at + UNIT_ROWS] for at in range(0, rows, UNIT_ROWS))

    def differing(self, held: pd.DataFrame, drawn: pd.DataFrame, schema: Schema) -> Any:
        apart = np.stack(list(held[COLUMN])) != np.stack(list(drawn[COLUMN]))
        return apart.any(axis=1) | (held["group"].to_numpy() != drawn["group"].to_numpy())

    def typed(self, frame: pd.DataFrame, schema: Schema) -> pd.DataFrame:
        return frame

    def read(self, folder: Path, schema: Schema, form: str) -> pd.DataFrame:
        return pd.read_parquet(folder / FILE)


def figures(frame: pd.DataFrame, statistics: NoisyVectors, *, secure: bool) -> Markup:
    return Markup(f"<p>{len(frame)} vectors</p>")


def shapes(config: Any, coder: VectorCoder) -> dict[str, tuple[int, ...]]:
    classes = coder.label.num_classes
    return {"class_prior": (classes,), "means": (classes, *coder.record_shape)}


@pytest.fixture(autouse=True)
def vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the kind, its statistic and its model, for one test."""
    kind = RecordKind(
        settings=VectorSettings,
        only_columns=False,
        default_model="normal",
        coder=f"{HERE}:VectorCoder",
        loader=f"{HERE}:load",
        check="fedloom.client.data_check:check",
        sampler=f"{HERE}:VectorSampler",
        distance=f"{HERE}:distance",
        writers={".parquet": "fedloom.cli.table_file:write_parquet"},
        data=f"{HERE}:VectorFiles",
        figures=f"{HERE}:figures",
    )
    statistic = StatisticKind(
        name="vector-sums",
        words="sums of vectors within each class",
        of=lambda coder, arrays: VectorSums(coder),
        integer_valued=False,
    )
    model = ModelKind(
        name="normal",
        settings=NormalSettings,
        records=("vector",),
        measures=f"{HERE}:measures",
        statistics=f"{HERE}:read",
        design=f"{HERE}:design",
        learner=f"{HERE}:NormalLearner",
        shapes=f"{HERE}:shapes",
    )
    monkeypatch.setitem(RECORDS, kind.name, kind)
    monkeypatch.setitem(STATISTICS, statistic.name, statistic)
    monkeypatch.setitem(MODELS, model.name, model)


def private(rows: int, seed: int, persons: int | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b"], size=rows)
    cells = [CENTRES[group] + rng.normal(0.0, 0.05, 3) for group in groups]
    frame = pd.DataFrame({COLUMN: cells, "group": groups})
    return frame if persons is None else frame.assign(who=rng.integers(0, persons, rows))


def study_at(folder: Any, text: str = "", model: str = "normal", privacy: str = "") -> Any:
    (folder / "schema.toml").write_text(SCHEMA)
    path = folder / "study.toml"
    path.write_text(
        f'[study]\nname = "vectors"\nschema = "schema.toml"\ntarget = "group"\n'
        f"[privacy]\nepsilon = 4.0\ndelta = 1e-5\n{privacy}"
        f'[model]\nkind = "{model}"\n[[site]]\nname = "north"\n[[site]]\nname = "south"\n{text}'
    )
    return path


@pytest.mark.parametrize("unit", ["record", "person"])
def test_a_kind_of_record_goes_from_frames_to_synthetic_records(tmp_path, unit):
    persons = None if unit == "record" else 400
    more = "" if unit == "record" else 'unit = "person"\nid = "who"\nrows_per_person = 3\n'
    sites = {"north": private(1500, 1, persons), "south": private(1500, 2, persons)}
    run = fedloom.simulate(study_at(tmp_path, privacy=more), sites, out=tmp_path / "run")
    drawn = run.sample(3000, seed=4)
    assert sorted(drawn.columns) == ["group", COLUMN]
    for group, centre in CENTRES.items():
        mean = np.mean(drawn[COLUMN][drawn["group"] == group].tolist(), axis=0)
        assert np.abs(mean - centre).max() < 0.15
    assert run.metrics["distance"].between(0.0, 1.0).all()
    release = run.release(tmp_path / "release")
    assert fedloom.verify(release, refit=True).ok
    assert f"{len(fedloom.Release(release).data)} vectors" in (release / "report.html").read_text()
    read = fedloom.Release(release)
    assert len(read.data) == len(read.data[COLUMN]) > 1000 and len(read.sample(5)[COLUMN]) == 5
    out = tmp_path / "more.parquet"
    assert cli("sample", release, "--rows", "7", "--out", out).code == 0
    assert np.stack(list(pd.read_parquet(out)[COLUMN])).shape == (7, 3)
    assert cli("sample", release, "--rows", "7", "--out", tmp_path / "more.csv").code != 0
    # The sum is of real numbers: its grid is finer than that of counts, and its noise larger.
    phase = run.plan.statistics[0]
    assert phase.grid_step < 1.0 and not phase.sum_parts(phase.max_cells)[0].integer_valued


def test_the_snapshot_holds_what_the_coder_made(tmp_path):
    frame, (study, schema) = private(40, 1), load_study(study_at(tmp_path))
    plan, home = resolve_plan(study, schema, version="0.1.0"), Home.create(tmp_path / "home")
    frozen = load_records(home, plan, freeze(home, plan, frame)).training
    coded = plan.coder.coded(frame)
    np.testing.assert_array_equal(frozen.features, coded.features)
    np.testing.assert_array_equal(frozen.classes, coded.classes)
    assert frozen.features.shape == (40, 3) and frozen.features.dtype == np.float32


def test_a_schema_with_its_section_is_read_back_and_has_a_digest_of_its_own(tmp_path):
    study, schema = load_study(study_at(tmp_path))
    assert Schema.from_dict(schema.to_dict()) == schema
    assert schema.records == VectorSettings(length=3)
    assert Schema(schema.columns).digest() != schema.digest() == study.schema_digest


@pytest.mark.parametrize("section", ["", "length = 0", "length = 3\nwidth = 2"])
def test_a_section_that_does_not_fit_its_type_is_refused(tmp_path, section):
    path = tmp_path / "schema.toml"
    path.write_text(SCHEMA.replace("length = 3", section))
    with pytest.raises(SchemaError, match="vector"):
        Schema.load(path)


def test_a_model_of_other_records_and_an_evaluation_that_the_kind_lacks_are_refused(tmp_path):
    sites = {"north": private(10, 1), "south": private(10, 2)}
    with pytest.raises(StudyError, match="vector"):
        fedloom.simulate(study_at(tmp_path, model="mixture"), sites, out=tmp_path / "one")
    with pytest.raises(StudyError, match="evaluation"):
        fedloom.simulate(
            study_at(tmp_path, text="[evaluation]\nshare = 0.1\n"), sites, out=tmp_path / "two"
        )


def test_records_that_lack_what_the_kind_needs_are_refused_before_anything_is_frozen(tmp_path):
    bad = private(10, 1).drop(columns=[COLUMN])
    with pytest.raises((DataError, KeyError)):
        fedloom.simulate(
            study_at(tmp_path), {"north": bad, "south": private(10, 2)}, out=tmp_path / "run"
        )
