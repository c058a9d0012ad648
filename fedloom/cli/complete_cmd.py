"""`fedloom complete`: images seen in part or coarsely, completed by a generator of images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fedloom.cli.generator_folder import load_generator
from fedloom.cli.table_file import not_written
from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.npz import npz_bytes
from fedloom.common.records.image import IMAGE

if TYPE_CHECKING:
    from fedloom.privacy.plan import Plan

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
    found = made.complete(
        given[IMAGE], known=given.get(_KNOWN), labels=_labels(given, plan), seed=seed
    )
    arrays = {**given, IMAGE: found.images}
    arrays.pop(_KNOWN, None)
    if plan.target is not None:
        arrays |= {plan.target: found.labels, _CHANCE: found.chances}
    try:
        write_whole(out, npz_bytes(arrays, compressed=True), private=True)
    except OSError as error:
        raise not_written(out, error) from error
    click.echo(f"{len(found.images):,} images completed in {out}", err=True)
    click.echo(
        "The result is as private as the images and stays with their owner; no privacy was spent.",
        err=True,
    )


def _labels(given: dict[str, NDArray[Any]], plan: Plan) -> list[str] | None:
    """Returns the class of each image as classes are called, "" where it is not known."""
    labels = given.get(plan.target or "")
    if labels is None:
        return None
    if labels.shape != given[IMAGE].shape[:1]:
        raise ConfigError(f"array {plan.target!r} must hold one value for each image")
    names = set(plan.encoding.class_labels)
    texts = ["" if str(label) == "nan" else str(label) for label in labels]
    if not set(texts) - names - {""}:
        return texts
    # Values as in a site's own file, such as numbers of an axis, whose classes have other names.
    frame = pd.DataFrame({name: [None] * len(texts) for name in plan.schema.names}, dtype=object)
    frame[plan.target] = [text or None for text in texts]
    classes = plan.encoding.classes(plan.encoding.encode(frame).codes)
    found = [plan.encoding.class_labels[label] for label in classes]
    return [name if text else "" for name, text in zip(found, texts, strict=True)]


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
