"""Records with an image each, beside their columns: `[image]` of a schema, and the kind's entry."""

from __future__ import annotations

from math import inf
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from fedloom.common.images.shape import ImageShape
from fedloom.common.records.base import RecordKind, RecordSettings

__all__ = ["IMAGE", "IMAGES", "ImageSettings"]

IMAGE = "image"
"""Column of a data frame that holds each record's image, (height, width, channels) uint8."""

Side = Annotated[int, Meta(ge=8, le=64)]


class ImageSettings(RecordSettings, frozen=True, kw_only=True):
    """Records with an image each, beside their columns.

    Attributes:
      height: rows of pixels, 8 to 64.
      width: columns of pixels, 8 to 64.
      channels: 1 for grey, 3 for red, green and blue.
      window: the values that are black and white in DICOM files, public: chosen without looking at
        the records. None if no site has such files.
    """

    kind: ClassVar[str] = "image"

    height: Side
    width: Side
    channels: Literal[1, 3] = 1
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Refuses a window that has no width."""
        if self.window is not None and not -inf < self.window[0] < self.window[1] < inf:
            raise ValueError("`window` must be two values, black and white, the first smaller")

    @property
    def shape(self) -> ImageShape:
        """The shape of every image."""
        return ImageShape(height=self.height, width=self.width, channels=self.channels)

    def in_words(self) -> list[str]:
        """Says for a steward what else than columns is read of each record."""
        what = "grey" if self.channels == 1 else "colour"
        words = f"  image: {self.height} by {self.width} pixels, {what}, 256 levels"
        if self.window is not None:
            words += f"; DICOM: {self.window[0]:g} is black, {self.window[1]:g} white"
        return [words]


IMAGES = RecordKind(
    settings=ImageSettings,
    only_columns=False,
    default_model="image-mixture",
    coder="fedloom.common.images.coder:ImageCoder",
    loader="fedloom.client.sources.images:load_images",
    check="fedloom.client.image_check:check_images",
    sampler="fedloom.common.images.sampler:ImageSampler",
    distance="fedloom.server.images.distance:distance_to_noisy_tones",
    writers={
        ".npz": "fedloom.cli.image_output:write_npz",
        "": "fedloom.cli.image_output:write_folder",
    },
    data="fedloom.privacy.release.image_files:ImageFiles",
    figures="fedloom.privacy.release.report.image_figures:image_figures",
    evaluation="fedloom.common.images.scores:ImageScores",
    positions="fedloom.common.images.coder:image_positions",
)
