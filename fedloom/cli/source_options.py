"""The options that say how a table is written, the same for every command that reads one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fedloom.cli.options import name_value_pairs
from fedloom.common.errors import ConfigError

if TYPE_CHECKING:
    from fedloom.client.sources import Source

__all__ = ["site_sources", "site_source_options", "source_options"]

Command = TypeVar("Command", bound=Callable[..., Any])


def source_options(command: Command) -> Command:
    """Adds `--separator`, `--decimal` and the rest of the table of options.

    What was given arrives as the argument `dialect`, a mapping that `Source` takes as keywords.
    """
    from fedloom.client.sources.options import OPTIONS

    @functools.wraps(command)
    def gathered(*args: Any, **kwargs: Any) -> Any:
        dialect = {}
        for name, option in OPTIONS.items():
            given = kwargs.pop(name)
            words = given if option.repeated else (given,)
            if words and words[0] is not None:
                dialect[name] = option.from_words(tuple(words))
        return command(*args, dialect=dialect, **kwargs)

    for option in reversed(OPTIONS.values()):
        gathered = click.option(
            option.flag,
            option.name,
            multiple=option.repeated,
            metavar=option.metavar,
            help=option.help,
        )(gathered)
    return gathered  # type: ignore[return-value]


def site_source_options(command: Command) -> Command:
    """Adds `--site` and `--source`, and the options for the tables of `--site`."""
    for option in (
        click.option(
            "--source",
            "sources",
            multiple=True,
            metavar="NAME=FILE",
            help="A TOML file whose [source] says where a site's records are and how written.",
        ),
        click.option(
            "--site",
            "sites",
            multiple=True,
            metavar="NAME=DATA",
            help="A site's table, or its home.",
        ),
    ):
        command = option(command)
    return source_options(command)


def site_sources(
    sites: tuple[str, ...], sources: tuple[str, ...], dialect: Mapping[str, Any]
) -> dict[str, Source]:
    """Returns the source of each site.

    Args:
      sites: NAME=DATA, tables that are written as `dialect` says; or NAME=HOME, folders whose
        `site.toml` says where the records are and how written. Nothing else of a home is opened.
      sources: NAME=FILE, files with a `[source]` of their own.
      dialect: As `source_options` gives it.

    Raises:
      ConfigError: a site is named twice, a home is another site's, or a source cannot be used.
    """
    from fedloom.client.home import Home
    from fedloom.client.sources import Source

    found = {
        name: _home_source(name, Path(data))
        if Home(Path(data)).config_path.is_file()
        else Source(path=data, **dialect)
        for name, data in name_value_pairs(sites, "--site").items()
    }
    for name, path in name_value_pairs(sources, "--source", example="north=site.toml").items():
        if name in found:
            raise ConfigError(f"{name!r} is given both by --site and by --source; keep one")
        found[name] = Source.load(Path(path))
    return found


def _home_source(name: str, home: Path) -> Source:
    """Reads where a home's records are; a home is asked under its own name alone."""
    from fedloom.client.home import Home
    from fedloom.client.site_config import SiteConfig

    config = SiteConfig.load(Home(home).config_path)
    if config.name != name:
        raise ConfigError(
            f"--site {name}={home}: that is the home of {config.name!r}; give the home of {name!r}"
        )
    return config.source
