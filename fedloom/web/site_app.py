"""The steward's pages: what waits for a decision, what was decided, what it cost."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from fedloom.client.home import Home
from fedloom.client.inbox import Inbox
from fedloom.client.membership import kit_of
from fedloom.client.site_config import SiteConfig
from fedloom.client.stewardship import receipt_of, revoke, set_paused
from fedloom.common.audit_log import AuditLog
from fedloom.common.errors import ConfigError, FedloomError
from fedloom.common.typed import plain
from fedloom.privacy.keys import fingerprint
from fedloom.privacy.release.manifest import Manifest
from fedloom.web.acts import Acts
from fedloom.web.door import Door
from fedloom.web.ledger_words import EntryShown, entries_in_words
from fedloom.web.pages import Pages, field, static_route
from fedloom.web.plan_pages import PlanPages
from fedloom.web.refusals import refusals_in
from fedloom.web.releases import ReleasePages
from fedloom.web.site_view import SiteReader

__all__ = ["SitePages"]

_TABS = (("", "Studies"), ("budget", "Budget"), ("site", "Site"), ("releases", "Releases"))
_PAGE = 100


class SitePages:
    """The pages of one home.

    Args:
      home: the steward's.
      door: whose session every request has.
    """

    def __init__(self, home: Home, door: Door) -> None:
        self._home, self._door = home, door
        self._reader, self._inbox = SiteReader(home), Inbox(home)
        site = SiteConfig.load(home.config_path).name
        self._pages = Pages(door.base, title=f"Site {site}", tabs=_TABS)
        self._acts = Acts(home.path, "site", "web")

    def app(self) -> ASGIApp:
        """Returns the application, to be put behind the guard."""
        plans = PlanPages(self._home, self._pages, self._reader, self._inbox, self._acts)
        releases = ReleasePages(self._home.path / "releases", self._pages, key=self._publisher)
        routes = [
            Route("/", self._studies),
            Route("/inbox", self._add, methods=["POST"]),
            *plans.routes(),
            Route("/receipt/{digest}", self._receipt),
            Route("/revoke/{digest}", self._ask_revoke),
            Route("/revoke/{digest}", self._revoke, methods=["POST"]),
            Route("/budget", self._budget),
            Route("/site", self._site),
            Route("/site/preflight", self._preflight),
            Route("/pause", self._pause, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            *releases.routes(),
            Route("/api/standing", self._standing),
            Route("/api/parts/now", self._now),
            static_route(),
        ]
        return Starlette(
            routes=[Mount(self._door.base, routes=routes)],
            exception_handlers={FedloomError: self._failed},
        )

    def _publisher(self, manifest: Manifest) -> str | None:
        """The key of the coordinator for whom the steward approved a plan, or of the federation."""
        grants, kit = self._reader.ledger().grants(manifest.plan), kit_of(self._home.path)
        if grants:
            return str(grants[-1].approval["coordinator"])
        return None if kit is None else kit.coordinator_key

    def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, FedloomError)
        return self._pages.error(request, error)

    def _studies(self, request: Request) -> Response:
        shown = self._reader.shown()
        waiting, unread = self._inbox.waiting(self._reader.ledger())
        return self._pages.page(
            request,
            "site_studies",
            shown=shown,
            waiting=waiting,
            unread=unread,
            refused=self._inbox.refused(),
            folder=str(self._inbox.folder),
            fingerprint=fingerprint,
            done=request.query_params.get("done", ""),
        )

    def _now(self, request: Request) -> Response:
        part = self._pages.part(request, "site_now", shown=self._reader.shown())
        return JSONResponse({"html": part})

    def _standing(self, request: Request) -> Response:
        return JSONResponse(asdict(self._reader.shown()))

    def _add(self, request: Request) -> Response:
        text = field(request, "plan").strip()
        if not text:
            raise ConfigError("no plan was given; choose the file, or paste what it holds")
        with self._acts.noted("add"):
            plan = self._inbox.add(text.encode())
        return self._pages.to(f"plan/{plan.digest()}")

    def _receipt(self, request: Request) -> Response:
        with self._acts.noted("receipt", str(request.path_params["digest"])):
            receipt = receipt_of(self._home, request.path_params["digest"])
        # The names of sites hold no character that a header could not.
        name = f"{receipt.site}.receipt.json"
        return Response(
            json.dumps(plain(receipt), indent=2) + "\n",
            media_type="application/json",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )

    def _ask_revoke(self, request: Request) -> Response:
        plan = self._inbox.find(request.path_params["digest"])
        return self._pages.page(request, "revoke", plan=plan)

    def _revoke(self, request: Request) -> Response:
        digest = str(request.path_params["digest"])
        with self._acts.noted("revoke", digest):
            revoke(self._home, digest)
        return self._pages.to("?done=revoked")

    def _budget(self, request: Request) -> Response:
        entries = entries_in_words(self._reader.ledger())
        before = request.query_params.get("before", "")
        end = len(entries)
        if re.fullmatch("[0-9]{1,9}", before):
            end = min(int(before), end)
        page: list[EntryShown] = entries[max(end - _PAGE, 0) : end][::-1]
        return self._pages.page(
            request,
            "site_budget",
            shown=self._reader.shown(),
            plot=self._reader.plot(),
            entries=page,
            older=end - _PAGE if end > _PAGE else None,
            head=self._reader.ledger().head,
        )

    def _site(self, request: Request, findings: Any = None) -> Response:
        kit, config = kit_of(self._home.path), SiteConfig.load(self._home.config_path)
        own = (self._home.public_key(), self._home.exchange_public_key())
        peers = {name: (peer.key, peer.exchange_key) for name, peer in config.peers.items()}
        return self._pages.page(
            request,
            "site_site",
            shown=self._reader.shown(),
            own=tuple(map(fingerprint, own)),
            peers={name: tuple(map(fingerprint, keys)) for name, keys in peers.items()},
            kit=None if kit is None else kit.fingerprint(),
            coordinator=None if kit is None else fingerprint(kit.coordinator_key),
            findings=findings,
            **self._refusals(),
            done=request.query_params.get("done", ""),
        )

    def _refusals(self) -> dict[str, Any]:
        """What was refused; or why the audit log cannot say."""
        try:
            return {"refusals": refusals_in(AuditLog(self._home.path).lines()), "damage": ""}
        except FedloomError as error:
            return {"refusals": [], "damage": str(error)}

    def _preflight(self, request: Request) -> Response:
        from fedloom.cli.site_preflight import findings

        return self._site(request, list(findings(self._home.path, None)))

    def _pause(self, request: Request) -> Response:
        paused = field(request, "paused") == "yes"
        with self._acts.noted("pause" if paused else "resume"):
            set_paused(self._home, paused)
        return self._pages.to(f"site?done={'paused' if paused else 'resumed'}")

    def _leave(self, request: Request) -> Response:
        self._door.leave()
        return Response("The session is ended.\n", media_type="text/plain")
