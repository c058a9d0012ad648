"""Chooses a clique tree from noisy pair counts: the strongest relations that small tables hold.

Edges between columns are tried in order of their score; one is kept if the triangulated graph
still has cliques within the limit. Of a wide table a maximum spanning forest of pairs is taken.
The cliques are then joined by a maximum spanning tree over the size of what they share, which
gives the running intersection.

Source: McKenna, Miklau & Sheldon 2021 (arXiv:2108.04978), section 4.2; Chow & Liu 1968 for trees.
All of it is post-processing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fedloom.common.models.clique_tree import CliqueTree

__all__ = ["choose_tree"]

# Beyond so many columns a forest of pairs is taken: triangulating anew for each pair takes minutes.
_MOST_COLUMNS = 40


def choose_tree(
    sizes: Sequence[int],
    scores: Mapping[tuple[int, ...], float],
    *,
    max_cells: int,
    max_total: int,
    max_tried: int = 2000,
) -> CliqueTree:
    """Returns a tree of cliques.

    Args:
      sizes: number of groups of each column.
      scores: by pair a < b, how far the columns are from independence; at 0 or below noise alone
        explains it, and the pair is left out.
      max_cells: cells of one clique's table.
      max_total: cells of all tables together.
      max_tried: pairs that are tried.
    """
    if len(sizes) > _MOST_COLUMNS:
        return _joined(sizes, _cliques(sizes, _forest(sizes, scores, max_cells)))
    edges: list[tuple[int, ...]] = []
    cliques = _cliques(sizes, edges)
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    for pair, score in ranked[:max_tried]:
        if score <= 0.0:
            break
        wider = _cliques(sizes, [*edges, pair])
        cells = [math.prod(sizes[c] for c in clique) for clique in wider]
        if max(cells) <= max_cells and sum(cells) <= max_total:
            edges.append(pair)
            cliques = wider
    return _joined(sizes, cliques)


def _forest(
    sizes: Sequence[int], scores: Mapping[tuple[int, ...], float], max_cells: int
) -> list[tuple[int, ...]]:
    """Returns the pairs of a maximum spanning forest (Kruskal 1956)."""
    part = list(range(len(sizes)))
    edges: list[tuple[int, ...]] = []
    for (a, b), score in sorted(scores.items(), key=lambda item: (-item[1], item[0])):
        if score > 0.0 and part[a] != part[b] and sizes[a] * sizes[b] <= max_cells:
            edges.append((a, b))
            old, new = part[a], part[b]
            part = [new if one == old else one for one in part]
    return edges


def _cliques(sizes: Sequence[int], edges: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Returns the maximal cliques of the graph after elimination in the order of least fill."""
    around: list[set[int]] = [set() for _ in sizes]
    for a, b in edges:
        around[a].add(b)
        around[b].add(a)
    left = set(range(len(sizes)))
    found: list[frozenset[int]] = []
    while left:
        best = min(left, key=lambda c: _cost(around, sizes, c))
        clique = frozenset(around[best] | {best})
        if not any(clique <= other for other in found):
            found.append(clique)
        for c in around[best]:
            around[c] |= around[best] - {c}
            around[c].discard(best)
        left.discard(best)
    return [tuple(sorted(clique)) for clique in found]


def _cost(around: Sequence[set[int]], sizes: Sequence[int], column: int) -> tuple[int, int, int]:
    near = sorted(around[column])
    fill = sum(
        near[j] not in around[near[i]] for i in range(len(near)) for j in range(i + 1, len(near))
    )
    return fill, math.prod(sizes[c] for c in near) * sizes[column], column


def _joined(sizes: Sequence[int], cliques: Sequence[tuple[int, ...]]) -> CliqueTree:
    """Joins cliques, the root first, each to the one with which it shares most."""
    order, parents = [0], [-1]
    left = set(range(1, len(cliques)))
    best = {i: (len(set(cliques[i]) & set(cliques[0])), 0) for i in left}
    while left:
        chosen = max(left, key=lambda i: (best[i][0], -i))
        place = len(order)
        order.append(chosen)
        parents.append(best[chosen][1])
        left.discard(chosen)
        for i in left:
            shared = len(set(cliques[i]) & set(cliques[chosen]))
            if shared > best[i][0]:
                best[i] = (shared, place)
    return CliqueTree(tuple(sizes), tuple(cliques[i] for i in order), tuple(parents))
