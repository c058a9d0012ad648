"""Pages from their templates: everything that is shown is escaped, whoever wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from fedloom.common.errors import FedloomError

__all__ = ["Pages", "field", "grouped", "static_route"]

_HERE = Path(__file__).parent
_STATIC = {"style.css": "text/css", "live.js": "text/javascript"}


class Pages:
    """Renders the pages of one application.

    Args:
      base: path under which all of them lie, without a slash at its end.
      title: of the application.
      tabs: path below the base and name of each page in the navigation.
    """

    def __init__(self, base: str, *, title: str, tabs: Sequence[tuple[str, str]]) -> None:
        self.base = base
        self._common = {"base": base, "site_title": title, "tabs": tabs}

    def page(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        """Returns a whole page.

        Args:
          request: whose session's token goes into the forms.
          template: its name, without the ending `.html.j2`.
          status: of the answer.
          values: all that the template names.
        """
        return HTMLResponse(self._text(request, template, values), status_code=status)

    def part(self, request: Request, template: str, **values: Any) -> str:
        """Returns a part of a page, as a page that refreshes itself puts it in."""
        return self._text(request, template, values)

    def error(self, request: Request, error: FedloomError, *, back: str = "") -> Response:
        """Returns a page that says what was refused, and how to mend it."""
        return self.page(request, "error", status=400, text=str(error), back=back)

    def to(self, path: str) -> Response:
        """Sends the browser to another page, after a change."""
        return RedirectResponse(f"{self.base}/{path}", status_code=303)

    def _text(self, request: Request, template: str, values: dict[str, Any]) -> str:
        form_token = request.state.session.form_token
        return (
            _environment()
            .get_template(f"{template}.html.j2")
            .render(**self._common, form_token=form_token, **values)
        )


def grouped(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Returns each line with those below it that begin with two spaces.

    >>> grouped(["a", "  b", "c"])
    [('a', ['b']), ('c', [])]
    """
    groups: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("  ") and groups:
            groups[-1][1].append(line.strip())
        else:
            groups.append((line.strip(), []))
    return groups


def field(request: Request, name: str) -> str:
    """Returns what a form says under a name; an empty text without it."""
    form: dict[str, list[str]] = request.state.form
    return form.get(name, [""])[0]


def static_route() -> Route:
    """Returns where the style sheet and the script are; no other name is looked up."""
    return Route("/static/{name}", _static)


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return Response("not found\n", status_code=404, media_type="text/plain")
    return Response((_HERE / "static" / name).read_bytes(), media_type=_STATIC[name])


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, groups=_groups)
    return environment


def _number(value: float) -> str:
    """Four digits, as the command line shows an epsilon; a small rest of arithmetic is 0."""
    return f"{value:.4g}" if abs(value) >= 5e-7 else "0"


def _groups(digest: str) -> Markup:
    """A digest in groups of eight, which may break between them."""
    return Markup("<wbr>").join(digest[k : k + 8] for k in range(0, len(digest), 8))
