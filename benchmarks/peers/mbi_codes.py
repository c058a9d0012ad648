"""MST (McKenna, Miklau and Sheldon 2021, arXiv:2108.04978) on top of mbi 2; see `given.py`.

The package holds the graphical models but not the mechanism, so that is written out here by the
paper: a third of the zero-concentrated budget rho on all single columns, a third on the choice of a
spanning tree of pairs by the exponential mechanism, a third on these pairs. Cells below three
standard deviations of a column's noise are one cell, out of which codes are drawn evenly.
"""

from __future__ import annotations

import itertools
import math

import jax

jax.config.update("jax_enable_x64", True)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from given import Given, given  # noqa: E402
from mbi import Domain, LinearMeasurement, estimation  # noqa: E402

_STEPS = 2_500
_STANDS_OUT = 3.0


def rho_of(epsilon: float, delta: float) -> float:
    """Returns the largest rho whose zCDP gives (epsilon, delta), by Canonne et al. 2020."""

    def log_delta(rho: float) -> float:
        alphas = 1.0 + np.geomspace(1e-4, 1e5, 4_000)
        logs = (alphas - 1) * (alphas * rho - epsilon) + alphas * np.log1p(-1 / alphas)
        return float(np.min(logs - np.log(alphas - 1)))

    low, high = 0.0, epsilon + 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if log_delta(middle) <= math.log(delta) else (low, middle)
    return low


def mst(asked: Given, rng: np.random.Generator) -> pd.DataFrame:
    """Returns synthetic codes."""
    columns, third = list(asked.table.columns), rho_of(asked.epsilon, asked.delta) / 3
    std = math.sqrt(len(columns) / (2 * third))
    looked = {c: _counted(asked.table, (c,), asked.sizes) for c in columns}
    noisy = {c: counts + std * rng.normal(size=counts.shape) for c, counts in looked.items()}
    merged = {c: _merged(noisy[c], std) for c in columns}
    table = pd.DataFrame({c: merged[c][asked.table[c].to_numpy()] for c in columns})
    sizes = {c: int(merged[c].max()) + 1 for c in columns}
    domain = Domain(columns, [sizes[c] for c in columns])
    singles = []
    for c in columns:
        members = np.sqrt(np.bincount(merged[c]))  # equal noise in every cell
        values = np.bincount(merged[c], noisy[c]) / members
        singles.append(_measurement(values, (c,), std, members))
    total = max(float(np.mean([counts.sum() for counts in noisy.values()])), 1.0)
    model = estimation.MirrorDescent().estimate(domain, singles, total, iters=_STEPS)
    tree = _tree(table, sizes, model, third, rng)
    std = math.sqrt(max(len(tree), 1) / (2 * third))
    pairs = []
    for pair in tree:
        counts = _counted(table, pair, sizes)
        pairs.append(LinearMeasurement(counts + std * rng.normal(size=counts.shape), pair, std))
    model = estimation.MirrorDescent().estimate(domain, [*singles, *pairs], total, iters=_STEPS)
    made = pd.DataFrame(model.synthetic_data(len(table)).to_dict())
    return pd.DataFrame({c: _unmerged(made[c].to_numpy(), merged[c], rng) for c in columns})


def _measurement(
    values: np.ndarray, clique: tuple[str, ...], std: float, members: np.ndarray
) -> LinearMeasurement:
    return LinearMeasurement(values, clique, std, query=lambda f: f.datavector() / members)


def _counted(table: pd.DataFrame, columns: tuple[str, ...], sizes: dict[str, int]) -> np.ndarray:
    shape = [sizes[c] for c in columns]
    cells = np.ravel_multi_index([table[c].to_numpy() for c in columns], shape)
    return np.bincount(cells, minlength=math.prod(shape)).astype(float)


def _merged(noisy: np.ndarray, std: float) -> np.ndarray:
    """Returns the new code of each code: those that noise hides share the last."""
    kept = noisy >= _STANDS_OUT * std
    codes = np.cumsum(kept) - 1
    return np.where(kept, codes, int(kept.sum()))


def _unmerged(made: np.ndarray, merged: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    out = np.empty(len(made), dtype=int)
    for code in np.unique(made):
        at = made == code
        members = np.flatnonzero(merged == code)
        out[at] = rng.choice(members if len(members) else np.arange(len(merged)), at.sum())
    return out


def _tree(
    table: pd.DataFrame,
    sizes: dict[str, int],
    model: object,
    rho: float,
    rng: np.random.Generator,
) -> list[tuple[str, str]]:
    """Returns the edges of a spanning tree, each by the exponential mechanism."""
    columns = list(table.columns)
    scores = {}
    for pair in itertools.combinations(columns, 2):
        shares = np.asarray(model.project(pair).datavector())  # type: ignore[attr-defined]
        scores[pair] = float(np.abs(_counted(table, pair, sizes) - shares).sum())
    epsilon = math.sqrt(8 * rho / max(len(columns) - 1, 1))
    part = {c: number for number, c in enumerate(columns)}
    edges = []
    for _ in range(len(columns) - 1):
        open_pairs = [pair for pair in scores if part[pair[0]] != part[pair[1]]]
        logits = np.array([epsilon / 2 * scores[pair] for pair in open_pairs])
        chosen = open_pairs[int(np.argmax(logits + rng.gumbel(size=len(logits))))]
        edges.append(chosen)
        old, new = part[chosen[0]], part[chosen[1]]
        part = {c: new if number == old else number for c, number in part.items()}
    return edges


def main() -> None:
    """Fits, samples as many rows as were given, writes them."""
    asked = given(["mst"])
    asked.hand_back(mst(asked, np.random.default_rng(asked.seed)))


if __name__ == "__main__":
    main()
