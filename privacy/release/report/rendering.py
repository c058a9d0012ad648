"""Templates of the report, rendered with everything escaped that is not marked up already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

__all__ = ["FOLDER", "rendered"]

FOLDER = Path(__file__).parent
"""Where templates and style sheet lie."""


def rendered(template: str, **values: Any) -> Markup:
    """Returns a template of `FOLDER` with its values, all of which must be given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return Markup(environment.get_template(template).render(**values))
