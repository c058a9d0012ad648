"""What one `gradient` round over ten sites costs in one process, beside the sum of its steps.

    OMP_NUM_THREADS=1 python benchmarks/round.py [--model vae gan] [--rounds 12] [--trust per-site]

Adult's training records (public schema) are dealt to ten sites, and a study with that many rounds
is simulated by `fedloom.simulate`: real vaults, ledgers with their fsyncs, messages, signatures,
masks, checkpoints. A round is timed from one report of progress to the next. Its steps are the
calls of `noisy_gradient` that the vaults made: those of the last round are made again, one after
the other, after the run. Medians over rounds.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from studies import study_of
from tabular import ROOT, TARGET, adult, deal

import fedloom
import fedloom.privacy.mechanisms.noisy_gradient as gradient
from fedloom.common.schema import Schema

SITES = 10


class Watch:
    """Notes when rounds end and what the vaults asked of the mechanism."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.honest = gradient.noisy_gradient

    def on_event(self, event: dict[str, Any]) -> None:
        """Takes the time at the end of a round."""
        if event["event"] == "round":
            self.ends.append(time.perf_counter())

    def noisy_gradient(self, *args: Any, **settings: Any) -> Any:
        """Answers as ever and keeps the last round's arguments."""
        self.calls = [*self.calls[-SITES + 1 :], (args, settings)]
        return self.honest(*args, **settings)

    def steps(self) -> float:
        """Makes the steps of the last round again and returns their time in all, in seconds."""
        times = []
        for args, settings in self.calls:
            runs = []
            for _ in range(5):
                start = time.perf_counter()
                self.honest(*args, **settings)
                runs.append(time.perf_counter() - start)
            times.append(statistics.median(runs))
        return sum(times)


def measured(model: str, rounds: int, trust: str, *, profile: bool) -> tuple[float, float]:
    """Returns the median time of a round and the time of its steps, in seconds."""
    schema = Schema.load(ROOT / "benchmarks" / "adult" / "schema.toml")
    tables = deal(adult(), SITES, None, 0)
    names = [f"site-{number + 1}" for number in range(SITES)]
    study = study_of(
        "adult",
        schema,
        TARGET,
        names,
        epsilon=3.0,
        privacy={"trust": trust},
        model={"kind": model},
        training={"exchange": "gradients", "num_rounds": rounds},
    )
    watch = Watch()
    gradient.noisy_gradient = watch.noisy_gradient
    profiler = cProfile.Profile()
    with tempfile.TemporaryDirectory() as folder:
        if profile:
            profiler.enable()
        fedloom.simulate(
            study,
            dict(zip(names, tables, strict=True)),
            schema=schema,
            out=Path(folder) / "run",
            clamp=True,
            insecure_seed=1,
            on_event=watch.on_event,
        )
        profiler.disable()
    gradient.noisy_gradient = watch.honest
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
    between = [late - early for early, late in zip(watch.ends, watch.ends[1:], strict=False)]
    return statistics.median(between[1:]), watch.steps()


def main() -> None:
    """Prints one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", choices=["vae", "gan"], default=["vae", "gan"])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--trust", choices=["per-site", "secure-sum"], default="secure-sum")
    parser.add_argument("--profile", action="store_true", help="of the coordinator's thread")
    options = parser.parse_args()
    for model in options.model:
        whole, steps = measured(model, options.rounds, options.trust, profile=options.profile)
        print(
            f"{model}, {SITES} sites, {options.trust}: round {1e3 * whole:.1f} ms, "
            f"steps {1e3 * steps:.1f} ms, ratio {whole / steps:.2f}"
        )


if __name__ == "__main__":
    main()
