"""Do 95% intervals hold the truth? `fedloom infer` over simulated studies, beside its rivals.

    python benchmarks/inference.py coverage [--studies 1000] [--first 0] [--out FILE.csv]
    python benchmarks/inference.py union [--studies 12] [--out FILE.csv]
    python benchmarks/inference.py summary FILE.csv ... [--out FILE.csv]

A population with known coefficients of a linear, a logistic and a Poisson regression is sampled
once a study: 20,000 records at ten sites under a secure sum, epsilon 1 for one record, seven
columns, the label `sick`. The exact counts of both rounds get Gaussian noise of exactly the size
that the plan and a full roster give; vaults, masks and ledgers, which change nothing about it, are
left out. The model is `tree`, or (`--model mixture`) a mixture with 64 components, to be fast.

`coverage` compares

  infer      intervals from the noisy counts
  twin       the same without the privacy noise in its errors: it must not hold the truth
  synthetic  the regression on the generator's rows, with its ordinary standard errors

for the regressions, and for means of a clamped and of a skewed column; and `union`, after Prediger
et al. 2024 (BMC Medical Informatics and Decision Making 24:167), the distance of Poisson
coefficients to those of all records together, in standard errors of the latter:

  infer      from the noisy counts of the joint study
  joint      on synthetic rows of the joint study
  union      on the union of each site's own synthetic rows, each site with a study of its own at
             the same epsilon
  alone      on the real records of one site, without any protection
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from studies import study_of

import fedloom
from fedloom.common.artifact import Artifact
from fedloom.common.errors import NotMeasuredError
from fedloom.common.marginals import NoisyMarginals
from fedloom.common.parts import load_part
from fedloom.common.sampling import sample
from fedloom.common.schema import Column, Schema
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.privacy.answers.opened import OpenedRound, noisy_sums
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.inference.ask import Question, ask
from fedloom.privacy.inference.families import FAMILIES
from fedloom.privacy.inference.result import Z
from fedloom.privacy.plan import Plan
from fedloom.privacy.resolve import resolve_plan

RECORDS = 20_000
SCHEMA = Schema(
    (
        Column("age", kind="integer", minimum=18, maximum=90),
        Column("bmi", kind="real", minimum=10.0, maximum=60.0),
        Column("sex", kind="category", values=("f", "m")),
        Column("group", kind="category", values=("a", "b", "c")),
        Column("pressure", kind="real", minimum=-40.0, maximum=120.0),
        Column("sick", kind="category", values=("no", "yes")),
        Column("visits", kind="integer", minimum=0, maximum=40),
    )
)
NAMES = ("(intercept)", "age", "bmi", "sex: m", "group: b", "group: c")
EFFECTS = {
    "linear": ("pressure", (5.0, 0.4, 0.6, 3.0, 2.0, -4.0)),
    "logistic": ("sick", (-6.0, 0.05, 0.08, 0.7, 0.4, -0.6)),
    "poisson": ("visits", (-1.0, 0.015, 0.03, 0.3, 0.2, -0.3)),
}
COVARIATES = "age + bmi + C(sex) + C(group)"
MEANS = ("age", "visits")
FIELDS = ("study", "family", "name", "method", "truth", "value", "lower", "upper")
SETTINGS = ((3, 1.0), (5, 1.0), (10, 1.0), (5, 3.0))


def drawn(records: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draws records of the population."""
    z = rng.normal(size=(records, 2))
    frame = pd.DataFrame(
        {
            "age": np.clip(np.round(52 + 14 * z[:, 0]), 18, 90).astype(int),
            "bmi": np.clip(27 + 4.5 * (0.4 * z[:, 0] + 0.9 * z[:, 1]), 10, 60),
            "sex": np.where(rng.random(records) < 1 / (1 + np.exp(-0.5 * z[:, 1])), "m", "f"),
        }
    )
    place = rng.random(records) * 0.8 + 0.2 * (z[:, 0] > 0)
    frame["group"] = np.array(["a", "b", "c"])[np.searchsorted([0.5, 0.8], place)]
    x = design(frame)
    linear = {family: x @ np.array(effects) for family, (_, effects) in EFFECTS.items()}
    frame["pressure"] = np.clip(linear["linear"] + 8 * rng.normal(size=records), -40, 120)
    sick = rng.random(records) < FAMILIES["logistic"].mean(linear["logistic"])
    frame["sick"] = np.where(sick, "yes", "no")
    frame["visits"] = np.minimum(rng.poisson(np.exp(linear["poisson"])), 40)
    return frame


def design(frame: pd.DataFrame) -> np.ndarray:
    """Returns the covariates of a table, the intercept first."""
    columns = [np.ones(len(frame)), frame["age"], frame["bmi"], frame["sex"] == "m"]
    columns += [frame["group"] == "b", frame["group"] == "c"]
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


def fitted(frame: pd.DataFrame, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns coefficients of a regression on rows, and their ordinary standard errors."""
    kind, name = FAMILIES[family], EFFECTS[family][0]
    y = (frame[name] == "yes" if family == "logistic" else frame[name]).to_numpy(float)
    x = design(frame)
    theta = np.zeros(x.shape[1])
    theta[0] = kind.start(float(y.mean()))
    for _ in range(60):
        slopes = (x * kind.slope(x @ theta)[:, None]).T @ x
        step = np.linalg.solve(slopes, x.T @ (y - kind.mean(x @ theta)))
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    scale = np.mean((y - x @ theta) ** 2) if family == "linear" else 1.0
    return theta, np.sqrt(scale * np.diag(np.linalg.inv(slopes)))


def plan_of(sites: int, epsilon: float, model: str) -> Plan:
    """Returns the plan of a study; a single site has none to add its noise to."""
    study = study_of(
        "inference",
        SCHEMA,
        "sick",
        [f"site-{number}" for number in range(sites)],
        epsilon=epsilon,
        privacy={"trust": "secure-sum" if sites > 2 else "per-site"},
        model={"kind": model, **({"components": 64} if model == "mixture" else {})},
    )
    return resolve_plan(study, SCHEMA, version=fedloom.__version__)


def studied(
    plan: Plan, frame: pd.DataFrame, rng: np.random.Generator
) -> tuple[NoisyMarginals, Artifact]:
    """Returns the noisy counts of a study of a table, and its generator."""
    coded = plan.encoding.encode(frame).codes
    records = plan.encoding.feature_codes(coded), plan.encoding.classes(coded)
    sites = tuple(sorted(plan.site_names))
    design, opened = load_part(plan.kind.design), list[OpenedRound]()
    for asked in plan.rounds:
        arrays = design(plan, asked, opened).arrays
        statistic = statistic_kind(asked.phase.params()["statistic"]).of(plan.encoding, arrays)
        sums = noisy_sums(plan, asked, statistic.length, len(sites))
        noisy = statistic.sum(*records) + sums[0].std * rng.normal(size=statistic.length)
        opened.append(
            OpenedRound(
                plan=plan.name,
                run="",
                round=asked.round,
                query=asked.query,
                void=(),
                roster=sites,
                request_digest="",
                params=asked.params,
                sums=sums,
                answer_digests=dict.fromkeys(sites, ""),
                heads={},
                total=np.rint(noisy / sums[0].grid_step).astype(np.int64),
                request_arrays=arrays,
            )
        )
    statistics = noisy_statistics(plan, opened)
    learner = load_part(plan.kind.learner)(plan.model, None, plan.encoding)
    return statistics, learner.export(learner.initialise(statistics, 0))


def inferred(
    plan: Plan, statistics: NoisyMarginals, generator: Artifact, question: Question
) -> Any:
    """Returns what `fedloom infer` finds, or None where it refuses."""
    try:
        return ask(
            question,
            plan=plan,
            statistics=statistics,
            generator=generator,
            epsilon=plan.stated_price.epsilon,
        )
    except NotMeasuredError:
        return None


def regression(family: str) -> Question:
    """Returns the regression of a family."""
    return Question(formula=f"{EFFECTS[family][0]} ~ {COVARIATES}", family=family)


def questions() -> Iterator[tuple[str, Question, tuple[str, ...], tuple[float, ...]]]:
    """Yields each family, its question, and names and true values of its estimates."""
    for family, (_, effects) in EFFECTS.items():
        yield family, regression(family), NAMES, effects
    # A mean of two million records is known twenty times better than any study tells it.
    population = drawn(2_000_000, np.random.default_rng(0))
    for column in MEANS:
        truth = (float(population[column].mean()),)
        yield f"mean of {column}", Question(mean=column), ("all",), truth


def naive(rows: pd.DataFrame, family: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ordinary estimates of a question on rows, and their standard errors."""
    if family in EFFECTS:
        return fitted(rows, family)
    values = rows[family.removeprefix("mean of ")].to_numpy(float)
    return np.array([values.mean()]), np.array([values.std() / np.sqrt(len(values))])


def coverage(studies: Sequence[int], model: str) -> Iterator[dict[str, Any]]:
    """Yields the interval of each coefficient, study and method."""
    plan, asked = plan_of(10, 1.0, model), list(questions())
    for study in studies:
        rng = np.random.default_rng([zlib.crc32(b"coverage"), study])
        statistics, generator = studied(plan, drawn(RECORDS, rng), rng)
        rows = sample(generator, SCHEMA, plan.target, RECORDS, seed=study)
        for family, question, names, truths in asked:
            line = {"study": study, "family": family}
            found = inferred(plan, statistics, generator, question)
            if found is None:
                yield {**line, "method": "refused"}
                continue
            theta, errors = naive(rows, family)
            for place, (name, truth) in enumerate(zip(names, truths, strict=True)):
                one = found[name]
                for method, value, error in (
                    ("infer", one.value, one.std_error),
                    ("twin", one.value, one.std_sampling),
                    ("synthetic", theta[place], errors[place]),
                ):
                    ends = {"lower": value - Z * error, "upper": value + Z * error}
                    yield {
                        **line, "name": name, "method": method, "truth": truth, "value": value,
                        **ends,
                    }  # fmt: skip


def union(studies: int, model: str) -> Iterator[dict[str, Any]]:
    """Yields the coefficients of each study, setting and method; the truth is the pooled."""
    for sites, epsilon in SETTINGS:
        joint, own = plan_of(sites, epsilon, model), plan_of(1, epsilon, model)
        for study in range(studies):
            rng = np.random.default_rng([zlib.crc32(b"union"), sites, int(10 * epsilon), study])
            frame = drawn(RECORDS, rng)
            pooled, errors = fitted(frame, "poisson")
            parts = [frame.iloc[site::sites] for site in range(sites)]
            statistics, generator = studied(joint, frame, rng)
            found = inferred(joint, statistics, generator, regression("poisson"))
            twins = []
            for part in parts:
                _, twin = studied(own, part, rng)
                twins.append(sample(twin, SCHEMA, own.target, len(part), seed=study))
            rows = sample(generator, SCHEMA, joint.target, RECORDS, seed=study)
            values = {
                "joint": fitted(rows, "poisson")[0],
                "union": fitted(pd.concat(twins), "poisson")[0],
                "alone": fitted(parts[0], "poisson")[0],
            }
            if found is not None:
                values["infer"] = np.array([found[name].value for name in NAMES])
            for method, theta in values.items():
                for place, name in enumerate(NAMES):
                    yield {
                        "study": study,
                        "family": f"{sites} sites, epsilon {epsilon:g}",
                        "name": name,
                        "method": method,
                        "truth": pooled[place],
                        "value": theta[place],
                        "lower": theta[place] - errors[place],
                        "upper": theta[place] + errors[place],
                    }


def summary(lines: list[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Returns one line a family, coefficient and method: coverage, error and width."""
    groups: dict[tuple[str, str, str], list[Mapping[str, str]]] = defaultdict(list)
    for line in lines:
        groups[line["family"], line["name"], line["method"]].append(line)
    found = []
    for (family, name, method), members in groups.items():
        made: dict[str, Any] = {
            "family": family, "name": name, "method": method, "studies": len(members)
        }  # fmt: skip
        if method != "refused":
            truth, value, lower, upper = (
                np.array([float(line[key]) for line in members])
                for key in ("truth", "value", "lower", "upper")
            )
            made["coverage"] = round(float(np.mean((lower <= truth) & (truth <= upper))), 4)
            made["error"] = f"{np.sqrt(np.mean((value - truth) ** 2)):.4g}"
            made["width"] = f"{np.median(upper - lower):.4g}"
        found.append(made)
    return found


def kept(path: Path) -> list[dict[str, str]]:
    """Returns the lines of an earlier run but for its last study, which may have been cut short."""
    lines = list(csv.DictReader(path.open())) if path.exists() else []
    return [line for line in lines if line["study"] != lines[-1]["study"]]


def main(words: list[str] | None = None) -> None:
    """Runs one of the three; results go to a file as they come.

    `coverage` goes on where an earlier run with the same `--out` ended.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["coverage", "union", "summary"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--model", choices=["tree", "mixture"], default="tree")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(words)
    if asked.what == "summary":
        read = [line for path in asked.files for line in csv.DictReader(path.open())]
        lines: Iterator[dict[str, Any]] = iter(summary(read))
        fields = ("family", "name", "method", "studies", "coverage", "error", "width")
    else:
        fields = FIELDS
        if asked.what == "coverage":
            before = kept(asked.out) if asked.out is not None else []
            done = {int(line["study"]) for line in before}
            wanted = range(asked.first, asked.first + (asked.studies or 1000))
            left = [study for study in wanted if study not in done]
            lines = itertools.chain(before, coverage(left, asked.model))
        else:
            lines = union(asked.studies or 12, asked.model)
    stream = sys.stdout if asked.out is None else asked.out.open("w", newline="")
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow(line)
        stream.flush()


if __name__ == "__main__":
    main()
