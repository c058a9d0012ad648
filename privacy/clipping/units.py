"""What every clipping engine shares: the unit's loss, its clip factor, the modules allowed.

A unit is one row of a batch, or a person: all rows of a run of equal `persons`. Its gradient over
all trainable parameters, summed over its rows, is scaled to norm at most C, so that adding or
removing the unit moves the sum by at most C. A unit whose gradient is not finite contributes
zero, whatever it holds: an exception would be an answer about it that nobody paid for.

Two things make the bound hold for any weights, so also for an adversary's:
  Precision. Norms and factors are taken in double precision from the gradients as they came, and
    so are sums, where single precision has no proven bound (`fedloom.privacy.clipping.single`).
  Fixed shapes. Matrix kernels choose their order of additions by the number of rows, and
    vectorised functions treat the last few elements otherwise; hostile weights blow such rounding
    up to gradients of any direction. So every physical batch is filled up to a fixed number of
    rows, a multiple of 64, by rows of zeros that are cut out of norms and sums: what a
    unit contributes depends neither on how many others there are nor on its place.
Not covered: kernels that treat rows of a batch of fixed shape differently. Tests look for them;
several threads in one kernel do it, so the mechanisms compute in one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fedloom.privacy.physical_rows import physical_rows

__all__ = [
    "MAX_CLIP",
    "MAX_ROWS",
    "MIN_CLIP",
    "Batch",
    "Loss",
    "Part",
    "People",
    "batch_size",
    "check_clip",
    "check_losses",
    "check_module",
    "clip_factors",
    "clipped_sum",
    "physical_rows_with_people",
    "split_batch",
    "trainable",
    "weighted_sum",
]

Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]

MIN_CLIP, MAX_CLIP = 1e-6, 1e6
# Rows of one person that a batch may hold; studies allow no more, and every part has room for them.
MAX_ROWS = 100
_ROWS_WITH_PEOPLE = 128
# Above this many times the clip a factor would leave the normal numbers of float32.
_MAX_NORM = 1e30
_CHUNK = 16


@dataclass(frozen=True, slots=True)
class People:
    """Whose the rows of a part are.

    `owners` (rows,) int64 counts units from 0 in the order of their rows; the first `count` are
    persons, later ones fillers of a row each. No person has more than `longest` rows.
    """

    owners: Tensor
    count: int
    longest: int

    def gathered(self, rows: Tensor) -> Tensor:
        """Returns (rows, ...) float64: position u holds the sum over the rows of unit u."""
        total = torch.zeros(rows.shape, dtype=torch.float64, device=rows.device)
        return total.index_add_(0, self.owners, rows.double())


@dataclass(frozen=True, slots=True)
class Part:
    """A physical batch: its first `used` rows count, the others are zeros and count nothing.

    The number of rows is public; `used` is private. Rows are units if `people` is None.
    `shuffled` says that units came in a secret order, all orders alike.
    """

    batch: Batch
    used: int
    people: People | None = None
    shuffled: bool = False

    @property
    def rows(self) -> int:
        """Rows of the part, fillers included."""
        return int(next(iter(self.batch.values())).shape[0])


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that gradients are taken of, by name, in the module's order."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def batch_size(batch: Batch) -> int:
    """Returns the common first dimension of a batch.

    Raises:
      ValueError: the batch is empty of tensors, or their first dimensions differ.

    >>> batch_size({"x": torch.zeros(3, 2), "y": torch.zeros(3)})
    3
    """
    if any(value.dim() == 0 for value in batch.values()):
        raise ValueError("every tensor of a batch needs a first dimension that counts units")
    sizes = {value.shape[0] for value in batch.values()}
    if len(sizes) != 1:
        names = ", ".join(sorted(batch)) or "none"
        raise ValueError(f"the tensors of a batch must share their first dimension; got: {names}")
    return int(sizes.pop())


def split_batch(
    batch: Batch,
    max_physical_batch: int | None,
    persons: Tensor | None = None,
    *,
    shuffled: bool = False,
) -> Iterator[Part]:
    """Yields the units in order, in parts of a fixed number of rows; a person is never split.

    Args:
      batch: Rows.
      max_physical_batch: See `physical_rows`; with persons a part has at least 128 rows.
      persons: (B,) int64, at most `MAX_ROWS` equal ones after one another; None if every row
        is a unit.
      shuffled: Passed on.

    No unit at all is one part of fillers, so that an empty batch takes the memory of another.
    """
    size = batch_size(batch)
    rows = physical_rows(max_physical_batch)
    if persons is None:
        ends = list(range(rows, size, rows)) + [size]
    else:
        rows = physical_rows_with_people(max_physical_batch)
        ends = _ends_between_persons(persons, rows)
    start = 0
    for end in ends:
        filled = {name: _filled(value[start:end], rows) for name, value in batch.items()}
        people = None if persons is None else _people(persons[start:end], rows)
        yield Part(filled, end - start, people, shuffled)
        start = end


def _ends_between_persons(persons: Tensor, rows: int) -> list[int]:
    """Returns where parts end: as late as `rows` allows without splitting a person."""
    last_rows = (torch.diff(persons) != 0).nonzero().reshape(-1) + 1
    borders = [*last_rows.tolist(), len(persons)]
    ends, start, before = [], 0, 0
    for border in borders:
        if border - start > rows:
            ends.append(before)
            start = before
        before = border
    return [*ends, len(persons)]


def _people(persons: Tensor, rows: int) -> People:
    used = len(persons)
    owners = torch.zeros(rows, dtype=torch.int64, device=persons.device)
    owners[1:used] = (torch.diff(persons) != 0).cumsum(0)
    count = int(owners[used - 1]) + 1 if used else 0
    owners[used:] = torch.arange(count, count + rows - used, device=persons.device)
    return People(owners, count, int(torch.bincount(owners, minlength=1).max()))


def physical_rows_with_people(max_physical_batch: int | None) -> int:
    """Returns the rows of a part that may hold persons: room for at least one.

    >>> physical_rows_with_people(None), physical_rows_with_people(1)
    (256, 128)
    """
    return max(physical_rows(max_physical_batch), _ROWS_WITH_PEOPLE)


def _filled(value: Tensor, rows: int) -> Tensor:
    # Always a copy: memory of a view is aligned by where it starts, and kernels may look at that.
    filled = value.new_empty((rows, *value.shape[1:]))
    filled[: value.shape[0]] = value
    filled[value.shape[0] :] = 0
    return filled


def check_clip(max_grad_norm: float, max_physical_batch: int | None) -> None:
    """Refuses a clip out of range, and physical batches of less than one unit.

    Within the range neither clip factors underflow nor sums overflow in float32.
    """
    if not MIN_CLIP <= max_grad_norm <= MAX_CLIP:
        raise ValueError(
            f"max_grad_norm must lie in [{MIN_CLIP:g}, {MAX_CLIP:g}], got {max_grad_norm!r}"
        )
    if max_physical_batch is not None and max_physical_batch < 1:
        raise ValueError(f"max_physical_batch must be at least 1, got {max_physical_batch!r}")


def check_losses(losses: Tensor, units: int) -> None:
    """Refuses losses that are not one number a unit.

    Shape (B, 1) instead of (B,) is the classic way to lose the guarantee: multiplied by clip
    factors of shape (B,) it spreads over all pairs of units.
    """
    if tuple(losses.shape) != (units,):
        raise ValueError(
            f"a loss must be one number per unit, of shape ({units},); got shape "
            f"{tuple(losses.shape)}. Reduce over every dimension but the first"
        )


def check_module(module: nn.Module) -> None:
    """Refuses modules whose gradient or state mixes the units of a batch."""
    learns = False
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"module {name!r} is a {type(part).__name__}, which mixes the records of a batch; "
                "use LayerNorm or GroupNorm"
            )
        if part._buffers:
            raise ValueError(
                "a private module may hold no buffers, which could carry data; got "
                f"{list(part._buffers)} in {name!r}. Pass constants in the batch, or keep them as "
                "plain attributes"
            )
        learns = learns or any(p is not None and p.requires_grad for p in part._parameters.values())
    if not learns:
        raise ValueError("the module has no trainable parameter")


def clip_factors(squared_norms: Tensor, max_grad_norm: float) -> tuple[Tensor, Tensor]:
    """Returns min(1, C / norm) of each unit in float64, and which units contribute at all.

    A unit whose norm is not finite, or above 1e30 times C, contributes zero: its factor is 0.
    Callers must also leave its gradient out, since 0 times NaN is NaN.

    >>> clip_factors(torch.tensor([0.0, 0.25, 4.0, float("nan")]), 1.0)[0].tolist()
    [1.0, 1.0, 0.5, 0.0]
    """
    # Few numbers: numpy handles them in a fraction of torch's time.
    squared = squared_norms.detach().cpu().numpy().astype(np.float64)
    kept = squared <= (_MAX_NORM * max_grad_norm) ** 2
    # The root of a square is exact, so that a norm within the clip has the factor 1.
    clipped = np.maximum(np.where(kept, squared, np.inf), max_grad_norm * max_grad_norm)
    factors = max_grad_norm / np.sqrt(clipped)
    device = squared_norms.device
    return torch.from_numpy(factors).to(device), torch.from_numpy(kept).to(device)


def clipped_sum(
    gradients: dict[str, Tensor], max_grad_norm: float, people: People | None = None
) -> dict[str, Tensor]:
    """Clips materialised gradients of rows, each of shape (B, *parameter), and adds them up.

    Args:
      gradients: Of every parameter; B is the number of used rows.
      max_grad_norm: C.
      people: Whose the rows are; None if each is a unit.

    Returns:
      float64 sums of the parameters' shapes.
    """
    if people is not None:
        return _sum_of_persons(gradients, max_grad_norm, people)
    squared = torch.stack(
        [_square_of_rows(g.reshape(g.shape[0], g.shape[1:].numel())) for g in gradients.values()]
    ).sum(0)
    factors, kept = clip_factors(squared, max_grad_norm)
    if not bool(kept.all()):
        factors = factors[kept]
        gradients = {name: g[kept] for name, g in gradients.items()}
    return {name: weighted_sum(factors, g) for name, g in gradients.items()}


def _sum_of_persons(
    gradients: dict[str, Tensor], max_grad_norm: float, people: People
) -> dict[str, Tensor]:
    """Adds up one person after the other: slow, and plainly what a person's clip means."""
    total = {name: g.new_zeros(g.shape[1:], dtype=torch.float64) for name, g in gradients.items()}
    for person in range(people.count):
        rows = (people.owners == person).nonzero().reshape(-1)
        one = {name: g[rows].double().sum(0) for name, g in gradients.items()}
        squared = torch.stack([value.square().sum() for value in one.values()]).sum()
        factors, kept = clip_factors(squared.reshape(1), max_grad_norm)
        if bool(kept):
            for name, value in one.items():
                total[name] += factors[0] * value
    return total


def weighted_sum(factors: Tensor, gradients: Tensor) -> Tensor:
    """Returns the sum over units of factors (B,) times gradients (B, ...), in float64."""
    rows = gradients.reshape(gradients.shape[0], gradients.shape[1:].numel())
    total = rows.new_zeros(rows.shape[1], dtype=torch.float64)
    # Few rows at a time, or doubles would take twice the memory of all gradients.
    for weights, part in zip(factors.split(_CHUNK), rows.split(_CHUNK), strict=True):
        total += weights @ part.double()
    return total.reshape(gradients.shape[1:])


def _square_of_rows(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()
