"""Settings of the models of images, with their defaults and ranges: public numbers only."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fedloom.common.models.settings import (
    Count,
    Decay,
    GradientRounds,
    ModelSettings,
    Rate,
    SampleRate,
    Size,
)
from fedloom.common.vocabulary import Reading, Rivalry

__all__ = [
    "ImageGanGradients",
    "ImageGanSettings",
    "ImageMixtureSettings",
    "ImageNetSettings",
    "ImageVaeGradients",
    "ImageVaeSettings",
]


class ImageMixtureSettings(
    ModelSettings, tag_field="kind", tag="image-mixture", frozen=True, kw_only=True
):
    """A mixture of Gaussians for the images of each class, made from noisy sums alone."""


class ImageNetSettings(ModelSettings, frozen=True, kw_only=True):
    """What the networks of images share.

    Attributes:
      hidden: width of the hidden layers of what writes images.
      reading: how encoder or critic look at an image.
      reading_hidden: width of their dense layers; convolutions have widths of their own.
      latent: dimensions of the latent.
      detail: frequencies of the cosine basis that are read and written, at most.
      start_steps: steps on images that the statistics give, before the first round; free.
      views: versions of each record that its loss is averaged over; costs time, not budget.
      shift: pixels by which a view may be shifted.
      rotation: degrees by which a view may be turned, either way.
      noise: standard deviation of what is added to each value of a view, of a range of 1.
      mirror: whether a view may be mirrored left to right.
    """

    hidden: Size = 128
    reading: Reading = Reading.FREQUENCIES
    reading_hidden: Size = 128
    latent: Size = 16
    detail: Annotated[int, Meta(ge=1, le=4096)] = 256
    start_steps: Annotated[int, Meta(ge=0, le=100_000)] = 800
    views: Annotated[int, Meta(ge=1, le=8)] = 1
    shift: Annotated[int, Meta(ge=0, le=8)] = 0
    rotation: Annotated[float, Meta(ge=0.0, le=180.0)] = 0.0
    noise: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    mirror: bool = False


class ImageVaeSettings(
    ImageNetSettings, tag_field="kind", tag="image-vae", frozen=True, kw_only=True
):
    """A conditional VAE of images.

    Attributes:
      hidden: width of the decoder's hidden layers.
      reading_hidden: width of the encoder's dense layer.
      beta: weight of the KL divergence.
    """

    hidden: Size = 256
    reading_hidden: Size = 256

    beta: Annotated[float, Meta(ge=0.0, le=1e3)] = 1.0


class ImageGanSettings(
    ImageNetSettings, tag_field="kind", tag="image-gan", frozen=True, kw_only=True
):
    """A conditional GAN of images.

    Attributes:
      lipschitz: greatest singular value that a layer of the critic may have.
      loss: of critic and generator; of `moments` the critic is linear in public features.
      mismatch: weight of a record's scores as one of other classes in the critic's loss.
      hidden: width of the hidden layers of the generator, which no site sees.
      latent: dimensions of the latent.
    """

    hidden: Size = 256
    latent: Size = 32
    lipschitz: Rate = 1.3
    loss: Rivalry = Rivalry.MOMENTS
    mismatch: Annotated[float, Meta(ge=0.0, le=1e3)] = 0.0

    def __post_init__(self) -> None:
        """Refuses settings of a critic that learns to read, for one that does not.

        Raises:
          ValueError: so the study is refused.
        """
        learned = self.reading is not Reading.FREQUENCIES or self.mismatch > 0.0
        if self.loss is Rivalry.MOMENTS and learned:
            raise ValueError(
                'a critic of loss "moments" reads frequencies and has no mismatch; leave reading '
                'and mismatch out, or choose loss "hinge"'
            )


class ImageVaeGradients(GradientRounds, frozen=True, kw_only=True):
    """Rounds of gradients of a VAE of images.

    Attributes:
      server_learning_rate: where noise is small; the coordinator takes the smaller steps the more
        of what rounds teach is noise.
      average_decay: of the moving average that is published.
    """

    num_rounds: Count = 400
    sample_rate: SampleRate = 0.1
    server_learning_rate: Rate = 0.01
    average_decay: Decay = 0.95


class ImageGanGradients(GradientRounds, frozen=True, kw_only=True):
    """Rounds of gradients of a critic of images; the generator's steps cost nothing.

    Attributes:
      critic_steps: rounds between the generator's turns.
      generator_steps: of the generator in a turn; None: 1 for a critic that learns and would be
        outrun; for one of moments, which is the best one at every step, 25 from a look alone and 5
        from all sums.
      generator_learning_rate: of its optimiser; None: 0.001 from a look alone, where it has all to
        learn, and 0.00005 from all sums, where it begins as the mixture.
      generator_decay: of its moving average, over turns.
    """

    num_rounds: Count = 100
    server_learning_rate: Rate = 0.002
    critic_steps: Count = 1
    generator_steps: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    generator_learning_rate: Rate | None = None
    generator_decay: Decay = 0.95
