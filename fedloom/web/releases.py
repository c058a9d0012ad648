"""Releases to open: their reports in a sandbox, and what verification says of them.

A release is somebody else's folder. Nothing of it is looked up by a name that a browser sends: the
name must be that of a folder in the list. Only the report is shown, as a document of no origin
that may neither run scripts nor load anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedloom.common.errors import ConfigError, FedloomError
from fedloom.common.files import read_plain
from fedloom.privacy.release.manifest import Manifest, read_manifest
from fedloom.privacy.release.verify import check_release
from fedloom.web.pages import Pages

__all__ = ["ReleasePages"]

_MAX_REPORT_BYTES = 64 << 20
_MOST = 200
_SANDBOX = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReleaseShown:
    """One folder of the list; `problem` says why it is no release that can be read."""

    name: str
    title: str
    created: str
    problem: str


class ReleasePages:
    """The pages of the releases in one folder.

    Args:
      folder: holds one folder for each release.
      pages: renders them.
      key: returns the publisher's public key for a release, if it is known from elsewhere.
    """

    def __init__(
        self, folder: Path, pages: Pages, *, key: Callable[[Manifest], str | None]
    ) -> None:
        self._folder, self._pages, self._key = folder, pages, key

    def routes(self) -> list[Route]:
        """Returns where the pages are."""
        return [
            Route("/releases", self._list),
            Route("/releases/{name}", self._verify),
            Route("/releases/{name}/report", self._report),
        ]

    def _folders(self) -> dict[str, Path]:
        """The folders by name; a link is none."""
        if not self._folder.is_dir():
            return {}
        found = [p for p in self._folder.iterdir() if p.is_dir() and not p.is_symlink()]
        return {path.name: path for path in sorted(found)[:_MOST]}

    def _find(self, request: Request) -> Path:
        name = request.path_params["name"]
        folder = self._folders().get(name)
        if folder is None:
            raise ConfigError(f"no release of that name is in {self._folder}")
        return folder

    def _list(self, request: Request) -> Response:
        shown = [_read(name, path) for name, path in self._folders().items()]
        return self._pages.page(request, "releases", releases=shown, folder=str(self._folder))

    def _verify(self, request: Request) -> Response:
        folder = self._find(request)
        whole = request.query_params.get("rows") == "yes"
        found = check_release(folder, self._publisher(folder), quick=not whole)
        return self._pages.page(
            request, "release", name=folder.name, found=found, whole=whole, path=str(folder)
        )

    def _publisher(self, folder: Path) -> str | None:
        try:
            return self._key(read_manifest(folder))
        except FedloomError:  # which the verification says
            return None

    def _report(self, request: Request) -> Response:
        report = read_plain(self._find(request) / "report.html", _MAX_REPORT_BYTES)
        return Response(
            report,
            media_type="text/html; charset=utf-8",
            headers={"content-security-policy": _SANDBOX},
        )


def _read(name: str, path: Path) -> _ReleaseShown:
    try:
        manifest = read_manifest(path)
    except FedloomError as error:
        return _ReleaseShown(name=name, title="", created="", problem=str(error))
    return _ReleaseShown(
        name=name, title=str(manifest.name), created=str(manifest.created), problem=""
    )
