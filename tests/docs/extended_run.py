"""Runs a study with one of the things that docs/extending.md adds; lies in a copy of the tree."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fedloom
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals
from fedloom.common.models.registry import MODELS
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.measures import Measures, marginal_measures, statistic_draft
from fedloom.server.binning import Design, pair_design

SCHEMA = """
[[column]]
name = "age"
kind = "integer"
min = 0
max = 99
nullable = true

[[column]]
name = "visited"
kind = "category"
values = ["no", "yes"]

[[column]]
name = "sick"
kind = "category"
values = ["no", "yes"]
"""
ROWS = 2000


def table(seed: int) -> pd.DataFrame:
    """Made-up people: the sick are old and visit; a tenth of the ages is missing."""
    rng = np.random.default_rng(seed)
    sick = rng.random(ROWS) < 0.3
    age = np.where(sick, rng.integers(60, 90, ROWS), rng.integers(20, 60, ROWS)).astype(float)
    age[rng.random(ROWS) < 0.1] = np.nan
    visited = rng.random(ROWS) < np.where(sick, 0.9, 0.2)
    words = np.array(["no", "yes"])
    return pd.DataFrame(
        {"age": age, "visited": words[visited.astype(int)], "sick": words[sick.astype(int)]}
    )


def study(folder: Path, model: str, more: str = "") -> Path:
    """Writes a study of two sites."""
    (folder / "schema.toml").write_text(SCHEMA)
    path = folder / "study.toml"
    path.write_text(
        '[study]\nname = "extended"\nschema = "schema.toml"\ntarget = "sick"\n'
        "[privacy]\nepsilon = 4.0\ndelta = 1e-5\n"
        f'[model]\nkind = "{model}"\n{more}[[site]]\nname = "north"\n[[site]]\nname = "south"\n'
    )
    return path


def released(folder: Path, model: str, more: str = "") -> fedloom.Run:
    """Runs a study, releases it and verifies the release, its generator fitted again."""
    run = finished(folder, model, more)
    release = run.release(folder / "release", evidence=folder / "evidence")
    assert fedloom.verify(release, evidence=folder / "evidence", refit=True).ok
    return run


def finished(folder: Path, model: str, more: str = "", sites: Any = None) -> fedloom.Run:
    """Runs a study, and looks at the synthetic records."""
    sites = sites or {"north": table(1), "south": table(2)}
    run = fedloom.simulate(study(folder, model, more), sites, out=folder / "run")
    drawn = run.sample(4000, seed=1)
    sick = drawn["sick"] == "yes"
    assert abs(sick.mean() - 0.3) < 0.06
    assert (drawn["visited"][sick] == "yes").mean() > 0.75
    assert (drawn["visited"][~sick] == "yes").mean() < 0.4
    return run


def _opened(run: fedloom.Run, number: int) -> OpenedRound:
    return OpenedRound.load(run.path / answer_path(number))


def counting_measures(study: Any, coder: Any) -> Measures:
    """The usual counts with four fifths of the budget, and the new statistic."""
    usual = marginal_measures(study, coder)
    kept = [dataclasses.replace(draft, share=0.8 * draft.share) for draft in usual.drafts]
    kept = [
        statistic_draft(
            study,
            draft.name,
            share=draft.share,
            record_norm=draft.at(1.0).l2_norm,
            max_cells=draft.at(1.0).max_cells,
        )
        for draft in kept
    ]
    new = statistic_draft(study, "missing-counts", share=0.2, record_norm=1.0, max_cells=3)
    return Measures(settings=usual.settings, drafts=[*kept, new])


def counting_design(plan: Any, asked: Any, opened: Any) -> Design:
    """Asks the new statistic without arrays."""
    return Design() if asked.phase.name == "missing-counts" else pair_design(plan, asked, opened)


def counting_statistics(plan: Any, rounds: Any) -> NoisyMarginals:
    """Reads the usual counts alone."""
    return noisy_statistics(plan, rounds[:2])


def sampled_design(plan: Any, asked: Any, opened: Any) -> Design:
    """Asks without arrays."""
    return Design()


def sampled_statistics(plan: Any, rounds: Any) -> NoisyMarginals:
    """Scales counts of a sample up to all records."""
    (look,), rate = rounds, plan.phases[0].sample_rate
    return NoisyMarginals(
        encoding=plan.encoding, look=look.values() / rate, look_std=look.sums[0].std / rate
    )


def _with_parts(name: str, **parts: str) -> None:
    """Has the model `independent` ask other statistics."""
    named = {part: f"extended_run:{function}" for part, function in parts.items()}
    MODELS[name] = dataclasses.replace(MODELS[name], **named)


def main(what: str, folder: Path) -> None:
    """Runs one of the examples."""
    if what in ("independent", "logits"):
        more = "[training]\nnum_rounds = 3\nlocal_steps = 40\nsample_rate = 0.2\n"
        released(folder, what, more if what == "logits" else "")
    elif what == "statistic":
        _with_parts(
            "independent",
            measures="counting_measures",
            design="counting_design",
            statistics="counting_statistics",
        )
        opened = _opened(finished(folder, "independent"), 3)
        missing = sum(table(seed)["age"].isna().sum() for seed in (1, 2))
        errors = opened.values() - np.array([2 * ROWS - missing, missing, 0])
        assert np.abs(errors).max() < 6 * opened.sums[0].std
    elif what == "query":
        _with_parts("independent", design="sampled_design", statistics="sampled_statistics")
        MODELS["independent"] = dataclasses.replace(
            MODELS["independent"], measures="fedloom.privacy.measures:sampled_measures"
        )
        run = released(folder, "independent")
        (phase,) = run.plan.phases
        assert phase.stage is Stage.STATISTICS and phase.query == "sample"
        opened = _opened(run, 1)
        drawn = OneWayMarginals(run.plan.encoding).rows(opened.values())[0].sum()
        noise = opened.sums[0].std * run.plan.encoding.num_classes**0.5
        assert abs(drawn - 0.2 * 2 * ROWS) < 6 * (0.16 * 2 * ROWS + noise**2) ** 0.5
    else:
        for name, seed in (("north", 1), ("south", 2)):
            table(seed).to_feather(folder / f"{name}.feather")
        finished(
            folder,
            "independent",
            sites={name: folder / f"{name}.feather" for name in ("north", "south")},
        )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        main(sys.argv[1], Path(made))
