"""`fedloom site nearest`: a steward's look at the synthetic records nearest to the own ones."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fedloom.cli.options import json_option
from fedloom.cli.output import print_json
from fedloom.cli.site_plan import home_option
from fedloom.cli.source_options import source_options
from fedloom.cli.table_file import not_written
from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.records.image import IMAGE
from fedloom.common.times import times_as_text

if TYPE_CHECKING:
    import pandas as pd

    from fedloom.client.nearest import Nearest

__all__ = ["nearest"]


@click.command()
@click.argument("release", type=click.Path(path_type=Path))
@home_option
@click.option(
    "--pairs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the nearest pairs here: a .png of images, a .csv of rows. As private as records.",
)
@source_options
@json_option
def nearest(
    release: Path, home: Path, pairs: Path | None, dialect: dict[str, Any], as_json: bool
) -> None:
    """Look whether RELEASE has records nearer to this site's own than these are to each other.

    PRIVATE: what is shown follows from your records without any noise. It is for you alone; do not
    send it on. Nothing is charged, since nothing leaves. The guarantee of a release is its epsilon
    and delta, whatever is found here; this look finds a generator that repeats records.

    Records are read as site.toml says; options that say how they are written stand in its place.
    """
    from fedloom.client.home import Home
    from fedloom.client.nearest import nearest as look
    from fedloom.client.site_config import SiteConfig
    from fedloom.client.stewardship import private_records
    from fedloom.consumer import Release

    opened = Release(release)
    suffix = ".csv" if opened.schema.kind.only_columns else ".png"
    if pairs is not None and pairs.suffix.lower() != suffix:
        raise ConfigError(f"--pairs {pairs} must end in {suffix} for records of this kind")
    config = SiteConfig.load(Home.open(home).config_path)
    config = replace(config, source=replace(config.source, **dialect))
    private_frame, made_frame = private_records(config, opened.plan), opened.read()
    found = look(private_frame, made_frame, opened.plan)
    if pairs is not None:
        _write(pairs, found, private_frame, made_frame)
    if as_json:
        print_json(asdict(found) | {"suspicious": found.suspicious})
        return
    _say(found)
    if pairs is not None:
        click.echo(f"wrote {pairs}: {len(found.pairs)} pairs, own record first; keep it here")


def _say(found: Nearest) -> None:
    click.echo("PRIVATE, without noise: for the steward alone; do not send it on.")
    click.echo(
        f"{found.looked_at:,} of your records, each among {found.among:,} others of yours and as "
        "many synthetic ones:"
    )
    click.echo(
        f"  nearest is synthetic          {found.nearer:7.1%}   (50% if synthetic records were as "
        f"good as new ones, give or take {2 * found.error:.1%}; less is usual)"
    )
    click.echo(f"  a synthetic record is alike   {found.same_as_made:7.1%}   in all the plan sees")
    click.echo(f"  another own record is alike   {found.same_as_own:7.1%}")
    if found.suspicious:
        click.echo(
            "SYNTHETIC RECORDS LIE NEARER THAN NEW ONES WOULD. Look at the pairs (--pairs), ask "
            "whether your table also holds records that another site or a public table had, and "
            "have the release verified with --evidence."
        )
    else:
        click.echo("nothing here says that records are repeated; it is a look and no guarantee")


def _write(path: Path, found: Nearest, own: pd.DataFrame, made: pd.DataFrame) -> None:
    """Writes the pairs for the steward alone; images beside each other, rows below each other."""
    data = _sheet(found, own, made) if path.suffix.lower() == ".png" else _rows(found, own, made)
    try:
        write_whole(path, data, private=True)
    except OSError as error:
        raise not_written(path, error) from error


def _rows(found: Nearest, own: pd.DataFrame, made: pd.DataFrame) -> bytes:
    import pandas as pd

    columns = list(made.columns)
    parts = []
    for number, pair in enumerate(found.pairs, start=1):
        both = pd.concat(
            [own[columns].iloc[[pair.own]].astype(object), made.iloc[[pair.made]].astype(object)]
        )
        both.insert(0, "pair", number)
        both.insert(1, "record", ["own", "synthetic"])
        both.insert(2, "distance", pair.distance)
        both.insert(3, "to_next_own", pair.to_own)
        parts.append(times_as_text(both))
    text: str = pd.concat(parts).to_csv(index=False, lineterminator="\n")
    return text.encode()


def _sheet(found: Nearest, own: pd.DataFrame, made: pd.DataFrame) -> bytes:
    """Returns a PNG of pairs, own image left and synthetic one right, six pairs in a row."""
    from fedloom.privacy.release.report.sheets import paper, png

    images = []
    for pair in found.pairs:
        one, other = own[IMAGE].iloc[pair.own], made[IMAGE].iloc[pair.made]
        images.append(np.concatenate([one, other], axis=1))
    return png(paper(images))
