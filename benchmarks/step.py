"""What a private step costs beside a plain one: median ratios of paired runs in one process.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--pairs 25] [--json]

Model: MLP 128-256-256-1 (99,073 parameters), batch 256, float32, SGD. Every pair runs each
method once, in turn, so that a busy machine slows all of them alike. Times are of this machine;
ratios travel better. Opacus' ratio depends on how fast the machine hands out fresh memory: set
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456 to keep it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.opacus_engine import NoisyOptimizer, PerUnitGradients
from fedloom.privacy.clipping.units import trainable
from fedloom.privacy.mechanisms.batches import noised_tensors
from fedloom.privacy.noise import NoiseSource

BATCH = 256
STD = 1.0


def loss(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The logistic loss of each record."""
    logits = module(batch["x"]).squeeze(1)
    return nn.functional.binary_cross_entropy_with_logits(logits, batch["y"], reduction="none")


def network() -> nn.Module:
    """Returns the same freshly initialised MLP every time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
    )


def plain_step(batch: Mapping[str, Tensor]) -> Callable[[], None]:
    """Returns a step without any privacy."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(module, batch).mean())
        optimizer.step()

    return step


def fused_step(batch: Mapping[str, Tensor], noise: NoiseSource | None) -> Callable[[], None]:
    """Returns the step of engine `fused`."""
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    parameters = trainable(module)

    def step() -> None:
        sums = clipped_gradient_sum(module, loss, batch, max_grad_norm=1.0)
        if noise is not None:
            sums = noised_tensors(sums, STD, noise)
        for name, value in sums.items():
            parameters[name].grad = value / BATCH
        optimizer.step()

    return step


def opacus_step(
    batch: Mapping[str, Tensor], noise: NoiseSource | None
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Returns the step of engine `opacus`, and what removes its hooks."""
    module = network()
    hooks = PerUnitGradients(module)
    optimizer = NoisyOptimizer(
        torch.optim.SGD(module.parameters(), lr=1e-3),
        trainable(module),
        max_grad_norm=1.0,
        add_noise=lambda sums: sums if noise is None else noised_tensors(sums, STD, noise),
        normaliser=BATCH,
    )

    def step() -> None:
        hooks.backward(loss, batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step, hooks.close


def milliseconds(step: Callable[[], None]) -> float:
    """Times one call."""
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def compare(methods: Mapping[str, Callable[[], None]], pairs: int) -> dict[str, dict[str, float]]:
    """Returns the median time of each method, and its median ratio to the first."""
    times: dict[str, list[float]] = {name: [] for name in methods}
    for step in methods.values():
        step()
    for _ in range(pairs):
        for name, step in methods.items():
            times[name].append(milliseconds(step))
    reference = next(iter(times.values()))
    return {
        name: {
            "milliseconds": round(statistics.median(values), 3),
            "ratio": round(
                statistics.median(v / r for v, r in zip(values, reference, strict=True)), 3
            ),
        }
        for name, values in times.items()
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=25, help="paired runs of every method")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()

    rng = torch.Generator().manual_seed(0)
    batch = {
        "x": torch.randn(BATCH, 128, generator=rng),
        "y": torch.randint(0, 2, (BATCH,), generator=rng).float(),
    }
    noise = NoiseSource()
    opacus, close = opacus_step(batch, None)
    opacus_noised, close_noised = opacus_step(batch, noise)
    parameters = sum(p.numel() for p in network().parameters())
    plain = plain_step(batch)
    rows = compare(
        {
            "plain SGD": plain,
            "fused": fused_step(batch, None),
            "fused + noise": fused_step(batch, noise),
            "noise alone": lambda: noise.normal(parameters, STD),
        },
        options.pairs,
    )
    # Apart from the others: its per-unit gradients (100 MB) would push them out of the cache.
    rows |= compare(
        {"plain SGD again": plain, "opacus": opacus, "opacus + noise": opacus_noised},
        options.pairs,
    )
    close()
    close_noised()
    if options.json:
        print(json.dumps({"parameters": parameters, "batch": BATCH, "methods": rows}, indent=2))
        return
    print(f"MLP 128-256-256-1, {parameters} parameters, batch {BATCH}; {options.pairs} pairs")
    for name, row in rows.items():
        print(f"{name:16} {row['milliseconds']:9.3f} ms   {row['ratio']:7.3f} x plain SGD")


if __name__ == "__main__":
    main()
