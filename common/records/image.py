"""Records with an image each, beside their columns: `[image]` of a schema, and the kind's entry."""

from __future__ import annotations

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
    """

    kind: ClassVar[str] = "image"

    height: Side
    width: Side
    channels: Literal[1, 3] = 1

    @property
    def shape(self) -> ImageShape:
        """The shape of every image."""
        return ImageShape(height=self.height, width=self.width, channels=self.channels)

    def in_words(self) -> list[str]:
        """Says for a steward what else than columns is read of each record."""
        what = "grey" if self.channels == 1 else "colour"
        return [f"  image: {self.height} by {self.width} pixels, {what}, 256 levels"]


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
)
