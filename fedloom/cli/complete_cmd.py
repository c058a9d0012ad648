"""`fedloom complete`: images seen in part or coarsely, completed by a generator of images."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from fedloom.cli.generator_folder import load_generator
from fedloom.cli.table_file import not_written
from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.records.image import IMAGE

__all__ = ["complete"]

_KNOWN, _CHANCE = "known", "chance"


@click.command()
@click.argument("source", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES.npz", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="An .npz file for the completed images.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Draw what is not seen, repeatably; by default its mean is taken.",
)
def complete(source: Path, images: Path, out: Path, seed: int | None) -> None:
    """Complete or enlarge images, from SOURCE, a run or a release of images.

    IMAGES.npz holds `image`, as a site's file does. Images smaller by a whole factor are made as
    large as the schema's. Of images of full size, `known` (true or false for each pixel) says
    which pixels stay. An array with the label's name says classes, empty where one is not known;
    what comes out has them all, with the `chance` of each.

    What comes out shows what IMAGES.npz holds. If that is private, so is the result: it stays with
    its owner. Nothing is charged, since the generator is public and the images never leave.
    """
    from fedloom.common.images.completion import Completion

    artifact, plan = load_generator(source)
    if out.suffix.lower() != ".npz":
        raise ConfigError(f"{out} must end in .npz")
    given = _arrays(images)
    made = Completion(artifact, plan.schema, plan.target)
    labels = given.get(plan.target or "")
    found = made.complete(
        given[IMAGE],
        known=given.get(_KNOWN),
        labels=None if labels is None else [str(label) for label in labels],
        seed=seed,
    )
    arrays = {**given, IMAGE: found.images}
    arrays.pop(_KNOWN, None)
    if plan.target is not None:
        arrays |= {plan.target: found.labels, _CHANCE: found.chances}
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    try:
        write_whole(out, stream.getvalue(), private=True)
    except OSError as error:
        raise not_written(out, error) from error
    click.echo(f"{len(found.images):,} images completed in {out}", err=True)
    click.echo(
        "The result is as private as the images and stays with their owner; no privacy was spent.",
        err=True,
    )


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads the arrays of an .npz file; nothing in it is run."""
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise ConfigError(f"{path} cannot be read as an .npz file of plain arrays") from error
    if IMAGE not in arrays:
        raise ConfigError(f"{path} holds no array `{IMAGE}`; it has {', '.join(arrays) or 'none'}")
    return arrays
