"""The coordinator's pages: institutions, runs, releases, and how long certificates hold."""

from __future__ import annotations

from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from fedloom.common.errors import ConfigError, FedloomError
from fedloom.deployment.coordinated_run import stop
from fedloom.privacy.handover import chained_keys, handovers_path, read_handovers
from fedloom.privacy.keys import public_key_hex
from fedloom.privacy.release.manifest import Manifest
from fedloom.server.provision.coordinator_home import CoordinatorHome
from fedloom.web.acts import Acts
from fedloom.web.coordinator_view import CoordinatorReader
from fedloom.web.door import Door
from fedloom.web.pages import Pages, field, static_route
from fedloom.web.releases import ReleasePages

__all__ = ["CoordinatorPages"]

_TABS = (("", "Federation"), ("runs", "Runs"), ("releases", "Releases"))


class CoordinatorPages:
    """The pages of one coordinator.

    Args:
      home: the coordinator's.
      door: whose session every request has.
    """

    def __init__(self, home: CoordinatorHome, door: Door) -> None:
        self._home, self._door = home, door
        self._reader = CoordinatorReader(home)
        self._acts = Acts(home.path, "coordinator", "web")
        title = f"Coordinator {home.settings().address}"
        self._pages = Pages(door.base, title=title, tabs=_TABS)

    def app(self) -> ASGIApp:
        """Returns the application, to be put behind the guard."""
        releases = ReleasePages(self._home.path / "releases", self._pages, key=self._publisher)
        routes = [
            Route("/", self._federation),
            Route("/runs", self._runs),
            Route("/runs/{run}", self._run),
            Route("/runs/{run}/stop", self._ask_stop),
            Route("/runs/{run}/stop", self._stop, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            *releases.routes(),
            Route("/api/standing", self._standing),
            Route("/api/parts/federation", self._part_federation),
            Route("/api/parts/runs", self._part_runs),
            Route("/api/parts/runs/{run}", self._part_run),
            static_route(),
        ]
        return Starlette(
            routes=[Mount(self._door.base, routes=routes)],
            exception_handlers={FedloomError: self._failed},
        )

    def _publisher(self, manifest: Manifest) -> str:
        """The coordinator's own key, or the former one that signed an older release."""
        former = chained_keys(read_handovers(handovers_path(self._home.key_path)))
        signer = manifest.signer.public_key
        return signer if signer in former else public_key_hex(self._home.key())

    def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, FedloomError)
        return self._pages.error(request, error)

    def _federation(self, request: Request) -> Response:
        return self._pages.page(request, "federation", shown=self._reader.shown())

    def _part_federation(self, request: Request) -> Response:
        part = self._pages.part(request, "federation_now", shown=self._reader.shown())
        return JSONResponse({"html": part})

    def _runs(self, request: Request) -> Response:
        return self._pages.page(request, "runs", shown=self._reader.shown())

    def _part_runs(self, request: Request) -> Response:
        part = self._pages.part(request, "runs_now", shown=self._reader.shown())
        return JSONResponse({"html": part})

    def _run(self, request: Request) -> Response:
        run, _ = self._reader.run(request.path_params["run"])
        done = request.query_params.get("done", "")
        return self._pages.page(request, "run", run=run, done=done)

    def _part_run(self, request: Request) -> Response:
        run, _ = self._reader.run(request.path_params["run"])
        return JSONResponse({"html": self._pages.part(request, "run_now", run=run)})

    def _ask_stop(self, request: Request) -> Response:
        run, _ = self._reader.run(request.path_params["run"])
        return self._pages.page(request, "stop", run=run)

    def _stop(self, request: Request) -> Response:
        run, folder = self._reader.run(request.path_params["run"])
        if field(request, "sure") != "yes":
            raise ConfigError("nothing was stopped; press the button on the run's own page")
        with self._acts.noted("stop", str(folder.path)):
            ended = stop(self._home, folder)
        self._reader.forget()
        return self._pages.to(f"runs/{run.id}?done={'stopped' if ended else 'idle'}")

    def _standing(self, request: Request) -> Response:
        return JSONResponse(asdict(self._reader.shown()))

    def _leave(self, request: Request) -> Response:
        self._door.leave()
        return Response("The session is ended.\n", media_type="text/plain")
