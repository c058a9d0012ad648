"""What was tried for a `tree`, each beside the product's fit on the same noise; not a whole study.

    python benchmarks/tree_variants.py adult churn [--variants now apart] [--epsilon 1] [--seeds 3]

A stand-in for a run: the sums of a study's plan over one table of the suite, with NumPy's noise of
the plan's standard deviations, and the product's own choice of groups, fit and draw. Variants:

    now        the product
    apart      each class fitted by itself, with one slack for all pairs
    ensemble   a third of the rows from a mixture of products, fitted to the same pairs
    last       a fifth of the budget, taken from the pairs, buys the eighth of all pairs that lie
               furthest from independence once more
    composite  classes of the label x the column of few values whose shares are most even, which
               is then no column of its own

Prints a JSON line for each table, seed and variant, with the suite's scores and CPU seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from studies import study_of
from suite_tables import CASES, Case, load

import fedloom
from fedloom.common.artifact import Artifact
from fedloom.common.class_column_marginals import ClassColumnMarginals, NoisyClassColumns
from fedloom.common.column_marginals import ColumnMarginals
from fedloom.common.marginals import NoisyMarginals, TwoWayMarginals, group_sizes
from fedloom.common.models.clique_tree import stratified
from fedloom.common.models.coders import encoding_of
from fedloom.common.models.registry import TreeSettings
from fedloom.common.parities import NoisyParities, Parities, class_signs
from fedloom.common.sampling import sample
from fedloom.common.sampling.tree import TreeSource
from fedloom.common.schema import Column, Schema
from fedloom.common.three_way_marginals import NoisyTriples, ThreeWayMarginals
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.learners import tree, tree_fit
from fedloom.server.learners.class_marginals import class_prior, log_marginals
from fedloom.server.learners.mixture_fit import MixtureFit, Target
from fedloom.server.tree_design import choose_coarse_groups, choose_groups, choose_halves

LAST_SHARE, LAST_PART, OF_MIXTURE, COMPONENTS = 0.2, 8, 1 / 3, 512
MOST_VALUES = 4
Array = np.ndarray[Any, np.dtype[Any]]


class Answers:
    """The noisy sums of a plan over one table.

    Attributes:
      noisy: what a coordinator knows.
      held: columns and classes of the records, which only a further sum reads.
    """

    def __init__(self, case: Case, epsilon: float, seed: int, kept_back: float = 0.0) -> None:
        """Asks all sums.

        Args:
          case: the table.
          epsilon: of the study.
          seed: of the noise.
          kept_back: share of the budget that is taken from the pairs.
        """
        sites = [f"site-{number}" for number in range(10)]
        study = study_of("variants", case.schema, case.target, sites, epsilon=epsilon)
        plan = resolve_plan(study, case.schema, version=fedloom.__version__)
        encoding = encoding_of("tree", case.schema, case.target)
        codes = encoding.encode(case.fitted).codes
        self.held = encoding.feature_codes(codes), encoding.classes(codes)
        self.rng, self._stds = np.random.default_rng([seed, 77]), {}
        cells = {}
        for phase in plan.statistics:
            self._stds[phase.statistic], cells[phase.statistic] = phase.noise_std, phase.max_cells
        pairs = TwoWayMarginals(encoding).l2_norm
        # One record adds at most one to a sum of unit norm at this noise for the whole budget.
        squares = [(self._norm(name, encoding) / std) ** 2 for name, std in self._stds.items()]
        self.unit = 1.0 / math.sqrt(sum(squares))
        left = (pairs / self._stds["pairwise"]) ** 2 - kept_back / self.unit**2
        self._stds["pairwise"] = pairs / math.sqrt(left)
        look = self._asked("columns", ColumnMarginals(encoding))
        known: dict[str, Any] = {
            "encoding": encoding,
            "look": look,
            "look_std": self._stds["columns"],
            "by_class": False,
        }
        std = self._stds["pairwise"]
        groups = choose_groups(NoisyMarginals(**known), pair_std=std, most_cells=cells["pairwise"])
        counts = self._asked("pairwise", TwoWayMarginals(encoding, groups))
        known |= {"groups": groups, "pairs": counts, "pair_std": std}
        if "class-columns" in self._stds:
            measured = ClassColumnMarginals(encoding, groups)
            blocks = measured.blocks(self._asked("class-columns", measured))
            known["class_columns"] = NoisyClassColumns(
                counts=tuple(blocks), std=self._stds["class-columns"]
            )
        so_far = NoisyMarginals(**known)
        if "three-way" in self._stds:
            coarse = choose_coarse_groups(so_far, most_cells=cells["three-way"])
            counts = self._asked("three-way", ThreeWayMarginals(encoding, coarse))
            known["triples"] = NoisyTriples(
                groups=coarse,
                counts=counts.reshape(encoding.num_classes, -1),
                std=self._stds["three-way"],
            )
        if "parities" in self._stds:
            halves = choose_halves(so_far)
            sums = self._asked("parities", Parities(encoding, halves))
            signs = class_signs(encoding.class_sampleable)
            known["parities"] = NoisyParities(
                halves=halves, sums=sums.reshape(len(signs), -1), std=self._stds["parities"]
            )
        self.noisy = NoisyMarginals(**known)

    def _norm(self, name: str, encoding: Any) -> float:
        groups = np.zeros(encoding.width, dtype=np.int32)
        kinds: dict[str, Callable[[], Any]] = {
            "columns": lambda: ColumnMarginals(encoding),
            "pairwise": lambda: TwoWayMarginals(encoding, groups),
            "class-columns": lambda: ClassColumnMarginals(encoding, groups),
            "three-way": lambda: ThreeWayMarginals(encoding, groups),
            "parities": lambda: Parities(encoding, groups),
        }
        return float(kinds[name]().l2_norm)

    def _asked(self, name: str, measured: Any) -> Array:
        exact = measured.sum(*self.held).astype(np.float64)
        return np.asarray(exact + self.rng.normal(0.0, self._stds[name], exact.shape))


def fitted(noisy: NoisyMarginals) -> Artifact:
    """Returns the product's tree."""
    learner = tree.TreeLearner(TreeSettings(), None, noisy.encoding)
    return learner.export(learner.initialise(noisy, 1))


def rows_of(artifact: Artifact, case: Case) -> pd.DataFrame:
    """Returns as many rows as were fitted."""
    return sample(artifact, case.schema, case.target, len(case.fitted), seed=3)


def now(case: Case, epsilon: float, seed: int) -> pd.DataFrame:
    """Returns rows of the product's fit."""
    return rows_of(fitted(Answers(case, epsilon, seed).noisy), case)


def apart(case: Case, epsilon: float, seed: int) -> pd.DataFrame:
    """Returns rows of trees that were fitted class by class with one slack."""
    with (
        mock.patch.object(tree_fit, "_SHARED_STEPS", 0),
        mock.patch.object(tree_fit, "told_strength", lambda *_, most: most),
    ):
        return now(case, epsilon, seed)


def ensemble(case: Case, epsilon: float, seed: int) -> pd.DataFrame:
    """Returns rows of which a third come from a mixture over the groups of the pairs."""
    noisy = Answers(case, epsilon, seed).noisy
    artifact, count = fitted(noisy), round(OF_MIXTURE * len(case.fitted))
    drawn = _mixture_groups(noisy, len(case.fitted), np.random.default_rng(seed))
    with mock.patch.object(TreeSource, "_groups", lambda *_: drawn):
        second = rows_of(artifact, case)
    first = rows_of(artifact, case).iloc[count:]
    joined = pd.concat([first, second.iloc[:count]], ignore_index=True)
    return joined.sample(frac=1.0, random_state=seed).reset_index(drop=True)


def _mixture_groups(noisy: NoisyMarginals, rows: int, rng: Any) -> tuple[Array, Array]:
    groups = np.asarray(noisy.groups)
    prior, cells = class_prior(noisy), np.exp(log_marginals(noisy))
    sizes, used = group_sizes(noisy.encoding, groups), np.flatnonzero(prior > 0)
    starts = [
        np.concatenate(
            [
                np.bincount(groups[b.start : b.start + b.size], row[b.start : b.start + b.size])
                for b in noisy.encoding.features
            ]
        )
        for row in cells[used]
    ]
    target = Target(
        pairs=np.stack([noisy.gram(int(label)) for label in used]),
        pair_std=float(noisy.pair_std or 0.0),
        sizes=np.maximum(prior[used] * noisy.total(), 1.0),
        start=np.log(np.maximum(starts, 1e-12)),
        groups=np.arange(sum(sizes)),
        blocks=np.repeat(np.arange(len(sizes)), sizes),
    )
    found = MixtureFit(target, COMPONENTS, 1).fit()
    places = rng.choice(len(used), rows, p=prior[used])
    drawn = np.empty((len(sizes), rows), dtype=np.int64)
    for place in range(len(used)):
        own = np.flatnonzero(places == place)
        component = np.resize(rng.permutation(COMPONENTS), len(own))
        for column, (start, end) in enumerate(itertools.pairwise(np.cumsum([0, *sizes]))):
            shares = found[place][:, start:end]
            shares = shares / shares.sum(axis=1, keepdims=True)
            drawn[column, own] = stratified(shares, component, rng)
    return drawn, used[places]


def last(case: Case, epsilon: float, seed: int) -> pd.DataFrame:
    """Returns rows of a fit to which the strongest pairs were counted twice."""
    answers = Answers(case, epsilon, seed, LAST_SHARE)
    noisy = answers.noisy
    bought = _strongest(noisy)
    exact = TwoWayMarginals(noisy.encoding, noisy.groups)
    counts, first = exact.sum(*answers.held), float(noisy.pair_std or 0.0)
    second = math.sqrt(len(bought) / LAST_SHARE) * answers.unit
    both = 1.0 / math.hypot(1.0 / first, 1.0 / second)
    pairs = np.array(noisy.pairs)
    for label in range(noisy.encoding.num_classes):
        tables = dict(exact.tables(pairs, label))
        for pair, table in exact.tables(counts, label):
            if pair in bought:
                again = table + answers.rng.normal(0.0, second, table.shape)
                tables[pair] += (both / second) ** 2 * (again - tables[pair])
    usual = tree._ClassFits._noise_of

    def noise_of(self: Any, label: int, pair: tuple[int, ...]) -> float:
        return both if pair in bought else usual(self, label, pair)

    with mock.patch.object(tree._ClassFits, "_noise_of", noise_of):
        return rows_of(fitted(dataclasses.replace(noisy, pairs=pairs)), case)


def _strongest(noisy: NoisyMarginals) -> set[tuple[int, int]]:
    """Returns the pairs whose noisy tables lie furthest from independence."""
    apart: dict[tuple[int, int], float] = {}
    for label in range(noisy.encoding.num_classes):
        for pair, table in noisy.tables(label):
            total = max(float(table.sum()), 1.0)
            alone = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
            free = math.prod(size - 1 for size in table.shape)
            noise = float(noisy.pair_std or 0.0) * math.sqrt(2 / math.pi * free * table.size)
            apart[pair] = apart.get(pair, 0.0) + float(np.abs(table - alone).sum()) - noise
    return set(sorted(apart, key=lambda pair: -apart[pair])[: max(len(apart) // LAST_PART, 1)])


def composite(case: Case, epsilon: float, seed: int) -> pd.DataFrame:
    """Returns rows of a tree whose classes are the label x a column of few values."""
    target, column = str(case.target), _even_column(case)
    joined = pd.DataFrame({name: case.fitted[name].astype(object) for name in (target, column)})
    joined = joined.where(joined.notna(), "").astype(str).agg("|".join, axis=1)
    rest = tuple(c for c in case.schema.columns if c.name not in (target, column))
    both = Column("both", "category", values=tuple(sorted(joined.unique())))
    table = case.fitted.drop(columns=[target, column]).assign(both=joined)
    of_both = dataclasses.replace(
        case, fitted=table, schema=Schema((*rest, both)), target="both", learned="both"
    )
    made = now(of_both, epsilon, seed)
    parts = made["both"].astype(str).str.split("|", n=1, expand=True, regex=False)
    parts = parts.where(parts != "", None)
    return made.assign(**{target: parts[0], column: parts[1]})[list(case.schema.names)]


def _even_column(case: Case) -> str:
    """Returns the column of few values whose most frequent value has the least share."""
    shares = {
        column.name: case.fitted[column.name].value_counts(normalize=True).iloc[0]
        for column in case.schema.columns
        if column.name != case.target and 0 < len(column.values) <= MOST_VALUES
    }
    return min(shares, key=lambda name: shares[name])


VARIANTS = {of.__name__: of for of in (now, apart, ensemble, last, composite)}


def main() -> None:
    """Prints a line for each table, seed and variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tables", nargs="+", choices=list(CASES))
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    for table, seed in itertools.product(asked.tables, range(asked.seeds)):
        case = load(table)
        for variant in asked.variants:
            start = time.process_time()
            made = VARIANTS[variant](case, asked.epsilon, seed)
            seconds = round(time.process_time() - start, 1)
            scores = {name: round(float(x), 4) for name, x in case.scores(made).items()}
            told = {"table": table, "epsilon": asked.epsilon, "seed": seed, "variant": variant}
            print(json.dumps({**told, **scores, "cpu_seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
