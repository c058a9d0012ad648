"""What a package that is installed beside fedloom offers by name: its entry points.

A package says so in its metadata, as `[project.entry-points."GROUP"]` of a pyproject.toml. Nothing
is loaded before a study names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from fedloom.common.errors import ConfigError

__all__ = ["EMBEDDINGS", "SIMULATORS", "from_package", "installed", "load", "working"]

SIMULATORS = "fedloom.simulators"
"""Draw candidate images, at the coordinator: `fedloom.server.images.simulators`."""
EMBEDDINGS = "fedloom.embeddings"
"""Give features of images, at the sites: `fedloom.common.images.embedding`."""


def installed(group: str, name: str) -> EntryPoint:
    """Returns the one entry point of a name.

    Raises:
      ConfigError: there is none, or packages disagree about it.
    """
    found = set(entry_points(group=group, name=name))
    if len(found) != 1:
        offered = ", ".join(sorted({point.name for point in entry_points(group=group)}))
        what = "is not installed here" if not found else "is offered by several packages"
        remedy = "install the package that offers it" if not found else "keep one of them"
        raise ConfigError(
            f"the entry point {name!r} of the group {group!r} {what}; {remedy}, in the environment "
            f"of fedloom (this one offers {offered or 'none'})"
        )
    return found.pop()


def from_package(point: EntryPoint) -> str:
    """Returns distribution and version that an entry point comes from, "NAME VERSION"."""
    assert point.dist is not None, "importlib.metadata reads entry points from distributions"
    return f"{point.dist.name} {point.dist.version}"


@contextmanager
def working(point: EntryPoint) -> Iterator[None]:
    """Turns whatever a package's own code raises into an error that names the package.

    Raises:
      ConfigError: it raised something.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # code of others
        raise ConfigError(
            f"the entry point {point.name!r} of {from_package(point)} fails "
            f"({type(error).__name__}: {error}); install that package again, with all that it "
            "needs, or have it corrected"
        ) from error


def load(point: EntryPoint) -> Any:
    """Imports what an entry point names.

    Raises:
      ConfigError: it cannot be imported.
    """
    with working(point):
        return point.load()
