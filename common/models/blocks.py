"""Tensors over blocks of cells: one-hot rows, one softmax a column, sampled cells.

A row of D numbers is the features' blocks beside each other, in the encoding's order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedloom.common.models.draws import Draws

if TYPE_CHECKING:
    from fedloom.common.encoding import Encoding

__all__ = ["Blocks"]

_FORBIDDEN = -1e9


class Blocks:
    """The layout of the D cells of a record's features.

    Attributes:
      width: D.
      sizes: cells of each of the m blocks.
      mask: (D,) zero for cells that may be synthesised, very negative for the others.
    """

    def __init__(self, sizes: list[int], sampleable: list[bool]) -> None:
        """Takes the blocks' sizes, and for each of the D cells whether it may be synthesised."""
        self.sizes = sizes
        self.width = sum(sizes)
        self._starts = torch.tensor([sum(sizes[:j]) for j in range(len(sizes))])
        allowed = torch.tensor(sampleable, dtype=torch.bool)
        self.mask = torch.where(allowed, 0.0, _FORBIDDEN)

    @classmethod
    def of(cls, encoding: Encoding) -> Blocks:
        """Returns the layout of an encoding's features."""
        features = encoding.features
        return cls(
            [block.size for block in features],
            [cell for block in features for cell in block.sampleable],
        )

    def one_hot(self, codes: NDArray[Any]) -> Tensor:
        """Returns (B, D) rows with a one per block, of codes (B, m)."""
        rows = torch.zeros(len(codes), self.width)
        cells = torch.from_numpy(np.asarray(codes, dtype=np.int64)) + self._starts
        return rows.scatter_(1, cells, 1.0)

    def deviation(self, records: Tensor, log_marginals: Tensor) -> Tensor:
        """Returns how one-hot rows differ from marginals, scaled to squared norm about 1."""
        scaled: Tensor = (records - log_marginals.exp()) * len(self.sizes) ** -0.5
        return scaled

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Returns the m blocks of (..., D) numbers."""
        return tuple(torch.split(rows, self.sizes, dim=-1))

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Returns log-probabilities (..., D), one distribution per block."""
        return torch.cat([part.log_softmax(-1) for part in self.split(logits)], dim=-1)

    def sample(self, logits: Tensor, draws: Draws) -> Tensor:
        """Draws one code per block from logits (B, D): (B, m) int64.

        A cell is drawn with its probability, never the most likely one each time: the Gumbel
        trick. Cells that may not be synthesised are never drawn.
        """
        # Above zero even where the source returns 0, and below one, so that both logs exist.
        uniform = draws.uniform(*logits.shape).clamp_(1e-10, 1.0 - 1e-7)
        scores = logits - torch.log(-torch.log(uniform)) + self.mask
        return torch.stack([part.argmax(-1) for part in self.split(scores)], dim=1)
