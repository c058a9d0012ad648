"""What a private step costs beside a plain one: median ratios of paired runs in one process.

    OMP_NUM_THREADS=1 python benchmarks/step.py [--model mlp vae] [--pairs 200] [--opacus] [--json]

`mlp` is 128-256-256-1 (99,073 parameters), `vae` the tabular model with its default sizes on
Adult's public schema; batch 256, float32, SGD. Every pair runs each method once, in turn, so that a
busy machine slows all of them alike. Times are of this machine; ratios travel better.

  fused            clipped sums, rows in random order: as records are trained
  fused, doubles   the same with all sums in double precision: as persons are trained
  + noise          with cryptographic noise, in a second thread if a core is idle (load below cores)
  + noise, 1 core  with the noise drawn in the same thread

Memory is the growth of resident memory over three steps in a process of its own, at its peak, of
which imports, model and batch are not a part. Opacus' ratio depends on how fast the machine hands
out fresh memory: set MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000
MALLOC_TOP_PAD_=268435456 to keep it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fedloom.common.encoding import Encoding
from fedloom.common.models import build_model
from fedloom.common.models.draws import SeededDraws
from fedloom.common.models.registry import VaeSettings
from fedloom.common.schema import Schema
from fedloom.privacy.clipping import clipped_gradient_sum
from fedloom.privacy.clipping.opacus_engine import NoisyOptimizer, PerUnitGradients
from fedloom.privacy.clipping.units import Loss, trainable
from fedloom.privacy.mechanisms.background import in_background
from fedloom.privacy.mechanisms.batches import noised_tensors
from fedloom.privacy.noise import NoiseSource

BATCH = 256
STD = 1.0
SCHEMA = Path(__file__).resolve().parent / "adult" / "schema.toml"

Step = Callable[[], None]
Case = tuple[Callable[[], nn.Module], Loss, dict[str, Tensor]]


def mlp() -> Case:
    """Returns what builds the MLP, its logistic loss per record, and a batch."""
    rng = torch.Generator().manual_seed(0)
    batch = {
        "x": torch.randn(BATCH, 128, generator=rng),
        "y": torch.randint(0, 2, (BATCH,), generator=rng).float(),
    }

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)
        )

    def loss(module: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        logits = module(batch["x"]).squeeze(1)
        return nn.functional.binary_cross_entropy_with_logits(logits, batch["y"], reduction="none")

    return network, loss, batch


def vae() -> Case:
    """Returns what builds the tabular VAE with default sizes, its loss, and a batch."""
    encoding = Encoding(Schema.load(SCHEMA), "income")
    model = build_model(VaeSettings(), encoding)
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, block.size, BATCH) for block in encoding.features], axis=1)
    public = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, shape in model.public_shapes.items()
    }
    classes = rng.integers(0, encoding.num_classes, BATCH)
    batch = model.make_batch(codes.astype(np.int32), classes, public, SeededDraws(0))
    return model.private_module, model.loss, batch


CASES = {"mlp": mlp, "vae": vae}


def plain_step(case: Case) -> Step:
    """Returns a step without any privacy."""
    make, loss, batch = case
    module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss(module, batch).mean())
        optimizer.step()

    return step


def fused_step(
    case: Case, noise: NoiseSource | None = None, *, cores: int = 2, shuffled: bool = True
) -> Step:
    """Returns the step of engine `fused`."""
    make, loss, batch = case
    module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    parameters = trainable(module)
    length = sum(p.numel() for p in parameters.values())

    def sums() -> dict[str, Tensor]:
        return clipped_gradient_sum(
            module, loss, batch, max_grad_norm=1.0, dtype=torch.float64, shuffled=shuffled
        )

    def noised(source: NoiseSource) -> dict[str, Tensor]:
        beside = length if cores > 1 else 0
        with in_background(lambda: source.normal(length, STD), beside) as normals:
            return noised_tensors(sums(), normals(), STD)

    def step() -> None:
        for name, value in (sums() if noise is None else noised(noise)).items():
            parameters[name].grad = (value / BATCH).float()
        optimizer.step()

    return step


def opacus_step(case: Case, noise: NoiseSource) -> Step:
    """Returns the step of engine `opacus` with noise; its hooks stay."""
    make, loss, batch = case
    module = make()
    hooks = PerUnitGradients(module)
    parameters = trainable(module)
    length = sum(p.numel() for p in parameters.values())
    optimizer = NoisyOptimizer(
        torch.optim.SGD(module.parameters(), lr=1e-3),
        parameters,
        max_grad_norm=1.0,
        add_noise=lambda sums: noised_tensors(sums, noise.normal(length, STD), STD),
        normaliser=BATCH,
    )

    def step() -> None:
        hooks.backward(loss, batch)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def methods(case: Case, *, opacus: bool) -> dict[str, Step]:
    """Returns every method by its name, plain SGD first."""
    noise, length = NoiseSource(), sum(p.numel() for p in case[0]().parameters())
    steps: dict[str, Step] = {
        "plain SGD": plain_step(case),
        "fused": fused_step(case),
        "fused + noise": fused_step(case, noise),
        "fused + noise, 1 core": fused_step(case, noise, cores=1),
        "fused, doubles": fused_step(case, shuffled=False),
        "noise alone": lambda: _drop(noise.normal(length, STD)),
    }
    return steps | ({"opacus + noise": opacus_step(case, noise)} if opacus else {})


def _drop(_: object) -> None:
    """Forgets a result."""


def compare(steps: Mapping[str, Step], pairs: int) -> dict[str, dict[str, float]]:
    """Returns the median time of each method, and its median ratio to the first."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(pairs):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - start))
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


def growth(model: str, method: str) -> float:
    """Returns the peak growth of memory in a fresh process, in MB; Linux only."""
    command = [sys.executable, __file__, "--model", model, "--grow", method]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _grow(step: Step) -> float:
    """Takes three steps and reads the kernel's counts of resident memory, in MB."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = _kilobytes("VmRSS")
    for _ in range(3):
        step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--pairs", type=int, default=200, help="paired runs of every method")
    parser.add_argument("--opacus", action="store_true", help="with Opacus' hooks")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--grow", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.grow:
        steps = methods(CASES[options.model[0]](), opacus=options.grow.startswith("opacus"))
        print(_grow(steps[options.grow]))
        return
    results = {}
    for name in options.model:
        steps = methods(CASES[name](), opacus=options.opacus)
        results[name] = compare(steps, options.pairs)
        if Path("/proc/self/clear_refs").exists():
            for method in ("plain SGD", "fused", "fused + noise"):
                results[name][method]["megabytes"] = round(growth(name, method), 1)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for name, rows in results.items():
        print(f"{name}, batch {BATCH}, {options.pairs} pairs")
        for method, row in rows.items():
            memory = f"{row['megabytes']:7.1f} MB" if "megabytes" in row else ""
            print(f"  {method:22} {row['milliseconds']:8.3f} ms {row['ratio']:7.3f} {memory}")


if __name__ == "__main__":
    main()
