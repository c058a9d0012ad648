"""Short texts in the fonts that are there: the one that Pillow brings, and those of matplotlib."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw"]

_FINE = 4
_MOST_LETTERS = 3


def draw(label: str, count: int, shape: tuple[int, int, int], seed: int) -> np.ndarray | None:
    """Renders the label in different fonts, sizes and weights.

    Args:
      label: the class, as the schema writes it.
      count: of images.
      shape: height, width and channels of an image.
      seed: of what is drawn at random; equal seeds give equal images.

    Returns:
      (count, height, width, channels) uint8, light on dark; None if the label is too long.
    """
    if not 1 <= len(label) <= _MOST_LETTERS:
        return None
    rng, fonts = np.random.default_rng(seed), _fonts()
    made = np.empty((count, *shape), np.uint8)
    for number in range(count):
        path = fonts[rng.integers(len(fonts))]
        made[number] = _one(label, path, shape, rng)[:, :, None]
    return made


def _fonts() -> list[str | None]:
    """Returns the paths of fonts; None is Pillow's own."""
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        return [None]
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    # Fonts of mathematical symbols have no letters.
    plain = [path for path in sorted(folder.glob("*.ttf")) if _has_letters(path.stem)]
    return [None, *map(str, plain)]


def _has_letters(name: str) -> bool:
    return not name.startswith(("STIXSiz", "STIXNonUni", "cmex", "cmsy", "cmmi")) and (
        "Display" not in name
    )


def _one(
    label: str, path: str | None, shape: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    height, width = shape[0] * _FINE, shape[1] * _FINE
    size = float(height * rng.uniform(0.85, 1.0))
    font = ImageFont.load_default(size) if path is None else ImageFont.truetype(path, int(size))
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).text(
        (width / 2, height / 2),
        label,
        fill=255,
        font=font,
        anchor="mm",
        stroke_width=int(rng.integers(0, _FINE)),
    )
    return np.asarray(canvas.resize((shape[1], shape[0]), Image.Resampling.BOX))
