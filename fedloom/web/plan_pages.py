"""A plan from the first look to the receipt: read, choose the number of runs, confirm."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedloom.client.explanation import Explanation, explain
from fedloom.client.home import Home
from fedloom.client.inbox import Inbox
from fedloom.client.peers import check_peers
from fedloom.client.site_config import SiteConfig
from fedloom.client.stewardship import private_records, sign_approval
from fedloom.common.errors import ConfigError, DataError, FedloomError
from fedloom.privacy.plan import Plan
from fedloom.web.acts import Acts
from fedloom.web.pages import Pages, field, grouped
from fedloom.web.site_view import SiteReader

__all__ = ["PlanPages"]

_MOST_RUNS = 1000
_OPTIONS = ("runs", "clamp", "clamp_column", "ids_as_written")


class PlanPages:
    """The pages of plans.

    Args:
      home: the steward's.
      pages: renders them.
      reader: of the home.
      inbox: of the home.
      acts: notes what is decided.
    """

    def __init__(
        self, home: Home, pages: Pages, reader: SiteReader, inbox: Inbox, acts: Acts
    ) -> None:
        self._home, self._pages, self._reader = home, pages, reader
        self._inbox, self._acts = inbox, acts

    def routes(self) -> list[Route]:
        """Returns where the pages are."""
        return [
            Route("/plan/{digest}", self._read),
            Route("/plan/{digest}/confirm", self._confirm),
            Route("/plan/{digest}/approve", self._approve, methods=["POST"]),
            Route("/plan/{digest}/refuse", self._refuse, methods=["POST"]),
        ]

    def _read(self, request: Request) -> Response:
        plan = self._plan(request)
        shown = self._reader.shown()
        grant = next((g for g in shown.grants if g.plan == plan.digest()), None)
        live = grant is not None and grant.status == "approved"
        explanation, problem = self._explained(plan, 1, check=not live)
        return self._pages.page(
            request,
            "plan",
            plan=plan,
            groups=[] if explanation is None else grouped(explanation.lines),
            problem=problem,
            grant=grant if live else None,
            vault_serves=shown.vault_serves,
            waits=any(p.digest() == plan.digest() for p in self._waiting()),
            done=request.query_params.get("done", ""),
        )

    def _confirm(self, request: Request) -> Response:
        plan, given = self._plan(request), request.query_params
        runs = _runs(given.get("runs", ""))
        explanation, problem = self._explained(plan, runs)
        if explanation is None or problem:
            raise ConfigError(problem)
        names = {column.name for column in plan.schema.columns}
        return self._pages.page(
            request,
            "confirm",
            plan=plan,
            runs=runs,
            explanation=explanation,
            epsilon=plan.price(runs).epsilon,
            clamp=given.get("clamp") == "yes",
            clamp_columns=[name for name in given.getlist("clamp_column") if name in names],
            ids_as_written=given.get("ids_as_written") == "yes",
        )

    def _approve(self, request: Request) -> Response:
        plan, runs = self._plan(request), _runs(field(request, "runs"))
        config = SiteConfig.load(self._home.config_path)
        if field(request, "read") != "yes":
            raise ConfigError("the approval was not confirmed; tick that you have read the plan")
        options = {name: values for name, values in request.state.form.items() if name in _OPTIONS}
        words = [f"{name}={value}" for name, values in options.items() for value in values]
        with self._acts.noted("approve", plan.digest(), *words):
            explain(self._home, config, plan, runs)
            try:
                private_frame = private_records(config, plan)
                sign_approval(
                    self._home,
                    config,
                    plan,
                    private_frame,
                    runs=runs,
                    clamp=field(request, "clamp") == "yes",
                    clamp_columns=request.state.form.get("clamp_column", []),
                    ids_as_written=field(request, "ids_as_written") == "yes",
                )
            except DataError as error:
                raise ConfigError(
                    "the records cannot be read or do not fit the plan's schema; nothing was "
                    "signed. What is wrong is shown on a terminal alone: "
                    f"`fedloom schema check PLAN --home {self._home.path}`"
                ) from error
            self._inbox.forget(plan.digest())
        return self._pages.to(f"plan/{plan.digest()}?done=approved")

    def _refuse(self, request: Request) -> Response:
        digest = str(request.path_params["digest"])
        with self._acts.noted("refuse", digest):
            self._inbox.refuse(digest)
        return self._pages.to("?done=refused")

    def _plan(self, request: Request) -> Plan:
        return self._inbox.find(request.path_params["digest"])

    def _waiting(self) -> list[Plan]:
        return self._inbox.waiting(self._reader.ledger())[0]

    def _explained(
        self, plan: Plan, runs: int, *, check: bool = True
    ) -> tuple[Explanation | None, str]:
        """Explains a plan as `fedloom site plan` does; or says why it cannot be approved."""
        config, explanation = SiteConfig.load(self._home.config_path), None
        try:
            explanation = explain(self._home, config, plan, runs)
            if check:
                check_peers(config.peers, plan, site=config.name)
        except FedloomError as error:
            return explanation, str(error)
        return explanation, ""


def _runs(text: str) -> int:
    if not (re.fullmatch("[0-9]{1,6}", text) and 1 <= int(text) <= _MOST_RUNS):
        raise ConfigError(f"the number of runs must be a whole number from 1 to {_MOST_RUNS}")
    return int(text)
