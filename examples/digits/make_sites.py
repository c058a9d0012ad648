"""Deals scikit-learn's digits to four sites, each with a style of keeping images of its own.

    python make_sites.py --out FOLDER

1,797 handwritten digits of 8 by 8 pixels come with scikit-learn (UCI, "Optical Recognition of
Handwritten Digits"). North keeps a .npz, east a .npy beside a CSV, south a folder of PNG files with
a CSV, west a folder for each digit.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

SITES = ("north", "east", "south", "west")
_SEED = 20_260_101

Array = np.ndarray[Any, Any]


def deal(out: Path) -> dict[str, Path]:
    """Writes every site's images and returns where they are."""
    data = load_digits()
    images = np.minimum(data.images * 16, 255).astype(np.uint8)
    order = np.random.default_rng(_SEED).permutation(len(images))
    out.mkdir(parents=True, exist_ok=True)
    written = {}
    for site, rows in zip(SITES, np.array_split(order, len(SITES)), strict=True):
        keep = {"north": _npz, "east": _npy, "south": _pictures, "west": _folders}[site]
        written[site] = keep(out, site, images[rows], data.target[rows].astype(str))
    return written


def _npz(out: Path, site: str, images: Array, digits: Array) -> Path:
    path = out / f"{site}.npz"
    np.savez(path, image=images, digit=digits)
    return path


def _npy(out: Path, site: str, images: Array, digits: Array) -> Path:
    path = out / f"{site}.npy"
    np.save(path, images)
    pd.DataFrame({"digit": digits}).to_csv(path.with_suffix(".csv"), index=False)
    return path


def _pictures(out: Path, site: str, images: Array, digits: Array) -> Path:
    path = out / site
    path.mkdir(exist_ok=True)
    names = [f"{number:04d}.png" for number in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(path / name)
    pd.DataFrame({"file": names, "digit": digits}).to_csv(path / "records.csv", index=False)
    return path


def _folders(out: Path, site: str, images: Array, digits: Array) -> Path:
    path = out / site
    for number, (image, digit) in enumerate(zip(images, digits, strict=True)):
        (path / digit).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / digit / f"{number:04d}.png")
    return path


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description="Deal scikit-learn's digits to four sites.")
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    for site, path in deal(parser.parse_args().out).items():
        print(f"{site}: {path}")


if __name__ == "__main__":
    main()
