"""The progress of a run in a terminal: round, sites that answered, epsilon spent and left.

On a terminal it is one live table on standard error; elsewhere one line a reported round. All
that is shown is post-processing of noised answers.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from fedloom.privacy.plan import Plan
from fedloom.privacy.plan_size import noise_warnings

__all__ = ["RunProgress"]

_BAR = 24
_PHASES = {
    "statistic": "statistics",
    "train": "training",
    "gradient": "training",
    "evaluate": "evaluation",
}
_MAX_NAMED = 6


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
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[rounds]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(
            "reading tables, choosing noise", total=None, rounds=""
        )
        self._rounds = 0
        self._limit = 0.0
        self._epsilon: dict[str, float] = {}
        self._answered: list[str] = []
        self._sites: list[str] = []
        self._distance: float | None = None
        self._started = time.monotonic()

    def __enter__(self) -> RunProgress:
        """Starts the display."""
        if not self._quiet and self._console.is_terminal:
            self._live = Live(self._progress, console=self._console, refresh_per_second=8)
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
            if kind is not None:
                self._progress.update(self._task, description="[red]stopped")
            self._live.__exit__(kind, error, trace)

    def plan(self, plan: Plan) -> None:
        """Tells the display the budget that the study may use; shows what speaks against it."""
        self._limit = plan.privacy.epsilon
        for warning in noise_warnings(plan):
            self._say(f"[yellow]Warning:[/yellow] {escape(warning)}")

    def __call__(self, event: dict[str, Any]) -> None:
        """Takes one event of a run."""
        if self._quiet:
            return
        kind = event["event"]
        if kind == "start":
            self._sites, self._rounds = list(event["sites"]), int(event["rounds"])
            self._progress.update(
                self._task,
                total=self._rounds,
                description="asking sites",
                rounds=f"round 0 of {self._rounds}",
            )
        elif kind == "round":
            self._answered = list(event["sites"])
            self._epsilon = event.get("epsilon", self._epsilon)
            self._distance = event.get("distance", self._distance)
            self._progress.update(
                self._task,
                completed=min(event["round"], self._rounds - 1),
                description=_PHASES[event["query"]],
                rounds=f"round {event['round']} of {self._rounds}",
            )
            if self._live is None and "distance" in event:
                self._print_line(event)
        elif kind == "dropped":
            self._say(f"site {escape(event['site'])}: no usable answer: {escape(event['reason'])}")
        elif kind == "void":
            self._say(
                f"round {event['round']}: attempt {event['attempt']} is void "
                f"({escape(event['reason'])}); asked again of the rest, from a spare round"
            )
        elif kind == "design":
            if "groups" in event:
                self._say(_joined(event["groups"]))
            if "images" in event:
                self._say(_looked_at(event["images"]))
        elif kind == "done":
            self._progress.update(self._task, completed=self._rounds, description="done")
        if self._live is not None:
            self._live.update(Group(self._progress, self._table()))

    def _print_line(self, event: dict[str, Any]) -> None:
        spent = max(event["epsilon"].values(), default=0.0)
        self._say(
            f"round {event['round']} of {event['rounds']}, {_PHASES[event['query']]}: "
            f"{len(event['sites'])} of {len(self._sites)} sites answered; at most epsilon "
            f"{spent:.3f} of {self._limit:g} spent at a site, {max(0.0, self._limit - spent):.3f} "
            f"left; distance to the noisy marginals {event['distance']:.3f}; "
            f"{time.monotonic() - self._started:.0f} s"
        )

    def _say(self, text: str) -> None:
        """Prints a line above the live display, or where there is none."""
        if not self._quiet:
            self._console.print(text, highlight=False, soft_wrap=self._live is None)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), caption_justify="left")
        table.add_column("site")
        table.add_column("last round")
        table.add_column("epsilon spent", justify="right")
        table.add_column(f"left of {self._limit:g}", justify="right")
        table.add_column("")
        for site in self._sites:
            spent = self._epsilon.get(site, 0.0)
            share = min(1.0, spent / self._limit) if self._limit else 0.0
            filled = round(share * _BAR)
            table.add_row(
                site,
                _answered(site in self._answered, begun=bool(self._answered)),
                f"{spent:.3f}",
                f"{max(0.0, self._limit - spent):.3f}",
                "[cyan]" + "━" * filled + "[/cyan][dim]" + "━" * (_BAR - filled) + "[/dim]",
            )
        if self._distance is not None:
            table.caption = f"mean distance of samples to the noisy marginals {self._distance:.3f}"
        return table


def _answered(answered: bool, *, begun: bool) -> str:
    if not begun:
        return "[dim]not asked yet[/dim]"
    return "[green]answered[/green]" if answered else "[red]no answer[/red]"


def _looked_at(images: dict[str, Any]) -> str:
    """Says what the next sum over images was designed to be."""
    if "frames" in images:
        how = "from frames of their own" if images["frames"] else "as they are"
        return f"images are seen {how}, by the first noisy sums"
    if "directions" in images:
        return f"images of a class differ in {images['directions']} directions beyond the noise"
    return f"each class is taken in {images['groups']} groups"


def _joined(columns: dict[str, list[int]]) -> str:
    """Says which columns' values are joined where pairs are counted."""
    coarser = {name: sizes for name, sizes in columns.items() if sizes[1] < sizes[0]}
    if not coarser:
        return "pairs are counted on all values"
    named = sorted(coarser, key=lambda name: coarser[name][1] / coarser[name][0])[:_MAX_NAMED]
    texts = [f"{escape(name)} {coarser[name][0]} to {coarser[name][1]}" for name in named]
    more = f" and {len(coarser) - len(named)} more" if len(coarser) > len(named) else ""
    return (
        f"pairs are counted on joined values, chosen from the first noisy counts: "
        f"{', '.join(texts)}{more}"
    )
