"""How well a generator of images completes and enlarges images that it was not made from.

    python benchmarks/image_completion.py [--epsilon 20] [--sheet completed.png]

scikit-learn's digits: 1,397 are the records of four sites under a secure sum, the 400 others are
seen in part (their left half) or coarsely (4 by 4 pixels). Prints root mean square errors, as parts
of the range of levels, beside what needs no generator.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

import fedloom
from fedloom.privacy.release.report.sheets import png

SITES = ("east", "north", "south", "west")
_RECORDS = 1_397

Array = NDArray[Any]


def main() -> None:
    """Runs the study and prints the errors as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epsilon", type=float, default=20.0)
    parser.add_argument("--sheet", type=Path, help="a PNG of some digits: seen, completed, real")
    options = parser.parse_args()
    data = load_digits()
    images = np.minimum(data.images * 16, 255).astype(np.uint8)
    labels = data.target.astype(str)
    with tempfile.TemporaryDirectory() as folder:
        made = _run(Path(folder), images[:_RECORDS], labels[:_RECORDS], options.epsilon)
        print(json.dumps(_errors(made, images[_RECORDS:], labels[_RECORDS:], options.sheet)))


def _run(folder: Path, images: Array, labels: Array, epsilon: float) -> fedloom.Run:
    (folder / "schema.toml").write_text(
        '[image]\nheight = 8\nwidth = 8\n[[column]]\nname = "digit"\nkind = "category"\n'
        f"values = {json.dumps([str(digit) for digit in range(10)])}\n"
    )
    sites = "".join(f'[[site]]\nname = "{site}"\n' for site in SITES)
    (folder / "study.toml").write_text(
        '[study]\nname = "digits"\nschema = "schema.toml"\ntarget = "digit"\n'
        f'[privacy]\nepsilon = {epsilon}\ndelta = 1e-5\ntrust = "secure-sum"\n{sites}'
    )
    rows = np.array_split(np.random.default_rng(0).permutation(len(images)), len(SITES))
    tables = {}
    for site, own in zip(SITES, rows, strict=True):
        tables[site] = folder / f"{site}.npz"
        np.savez(tables[site], image=images[own], digit=labels[own])
    return fedloom.simulate(folder / "study.toml", tables, out=folder / "run")


def _errors(run: fedloom.Run, images: Array, labels: Array, sheet: Path | None) -> dict[str, float]:
    known = np.ones(images.shape, dtype=bool)
    known[:, :, 4:] = False
    halves = run.complete(images, known=known)
    told = run.complete(images, known=known, labels=list(labels))
    small = np.rint(images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))).astype(np.uint8)
    large = run.complete(small)
    cubic = zoom(small.astype(float), (1, 2, 2), order=3, grid_mode=True, mode="nearest")
    mean = np.broadcast_to(images.mean(axis=0), images.shape)
    if sheet is not None:
        seen = np.where(known, images, 128).astype(np.uint8)
        repeated = small.repeat(2, axis=1).repeat(2, axis=2)
        rows = (seen, halves.images[..., 0], repeated, large.images[..., 0], images)
        sheet.write_bytes(png(_sheet(rows)))
    return {
        "half_mean_digit": _error(mean, images, ~known),
        "half_completed": _error(halves.images[..., 0], images, ~known),
        "half_class_found": float((halves.labels == labels).mean()),
        "half_completed_class_given": _error(told.images[..., 0], images, ~known),
        "small_repeated": _error(small.repeat(2, axis=1).repeat(2, axis=2), images),
        "small_cubic": _error(np.clip(cubic, 0, 255), images),
        "small_enlarged": _error(large.images[..., 0], images),
        "small_class_found": float((large.labels == labels).mean()),
    }


def _error(found: Array, images: Array, hidden: Array | None = None) -> float:
    apart = (found.astype(float) - images) / 255.0
    chosen = apart if hidden is None else apart[hidden]
    return round(float(np.sqrt((chosen**2).mean())), 3)


def _sheet(rows: tuple[Array, ...], count: int = 16, scale: int = 5) -> Array:
    """Returns one image: a row of the first digits for each array, with white lines between."""
    lines = []
    for images in rows:
        tiles = [np.pad(image, 1, constant_values=255) for image in images[:count]]
        lines.append(np.concatenate(tiles, axis=1))
    whole = np.concatenate(lines).repeat(scale, axis=0).repeat(scale, axis=1)
    return whole[..., None]


if __name__ == "__main__":
    main()
