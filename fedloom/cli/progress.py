"""The progress of a run in a terminal: round, sites that answered, epsilon spent and left.

On a terminal it is one live table on standard error; elsewhere one line a reported round. All
that is shown is post-processing of noised answers.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedloom.privacy.plan import Plan

__all__ = ["RunProgress"]

_BAR = 24


class RunProgress:
    """Shows the events of `coordinate`; use as a context manager.

    Args:
      quiet: show nothing (for `--json`).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=_BAR),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("preparing", total=None)
        self._limit = 0.0
        self._epsilon: dict[str, float] = {}
        self._answered: list[str] = []
        self._sites: list[str] = []
        self._distance: float | None = None
        self._started = time.monotonic()

    def __enter__(self) -> RunProgress:
        """Starts the display."""
        if not self._quiet and self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the display; the last state stays on the screen."""
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def plan(self, plan: Plan) -> None:
        """Tells the display the budget that the study may use."""
        self._limit = plan.epsilon

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of a run."""
        if self._quiet:
            return
        kind = event["event"]
        if kind == "start":
            self._sites = list(event["sites"])
            self._progress.update(self._task, total=event["rounds"], description="asking sites")
        elif kind == "round":
            self._answered = list(event["sites"])
            self._epsilon = event.get("epsilon", self._epsilon)
            self._distance = event.get("distance", self._distance)
            names = {"statistic": "statistics", "train": "training", "gradient": "training"}
            self._progress.update(
                self._task, completed=event["round"], description=names[event["query"]]
            )
            if self._live is None and "distance" in event:
                self._print_line(event)
        elif kind == "dropped":
            print(f"site {event['site']}: no usable answer: {event['reason']}", file=sys.stderr)
        elif kind == "done":
            self._progress.update(self._task, description="done")
        if self._live is not None:
            self._live.update(Group(self._progress, self._table()))

    def _print_line(self, event: dict[str, Any]) -> None:
        spent = max(event["epsilon"].values(), default=0.0)
        print(
            f"round {event['round']}/{event['rounds']} {event['query']}: "
            f"{len(event['sites'])} of {len(self._sites)} sites answered, epsilon spent "
            f"{spent:.3f} of {self._limit:g}, distance to the noisy marginals "
            f"{event['distance']:.3f}, {time.monotonic() - self._started:.0f} s",
            file=sys.stderr,
        )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("site")
        table.add_column("answered")
        table.add_column("epsilon spent", justify="right")
        table.add_column("left", justify="right")
        table.add_column("")
        for site in self._sites:
            spent = self._epsilon.get(site, 0.0)
            share = min(1.0, spent / self._limit) if self._limit else 0.0
            filled = round(share * _BAR)
            table.add_row(
                site,
                "[green]yes[/green]" if site in self._answered else "[dim]not yet[/dim]",
                f"{spent:.3f}",
                f"{max(0.0, self._limit - spent):.3f}",
                "[cyan]" + "━" * filled + "[/cyan][dim]" + "━" * (_BAR - filled) + "[/dim]",
            )
        if self._distance is not None:
            table.caption = f"mean distance of samples to the noisy marginals {self._distance:.3f}"
        return table
