"""Settings of the models of images, with their defaults and ranges: public numbers only."""

from __future__ import annotations

from typing import Annotated, Any

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
from fedloom.common.models.vote_settings import VoteSettings
from fedloom.common.vocabulary import Generation, Likelihood, Reading, Rivalry

__all__ = [
    "ImageGanGradients",
    "ImageGanSettings",
    "ImageMixtureSettings",
    "ImageNetSettings",
    "ImageVaeGradients",
    "ImageVaeSettings",
    "votes_of_model",
]


class ImageMixtureSettings(
    ModelSettings,
    tag_field="kind",
    tag="image-mixture",
    frozen=True,
    kw_only=True,
    omit_defaults=True,
):
    """A mixture of Gaussians for the images of each class, made from noisy sums alone.

    Attributes:
      votes: of records for candidate images; None asks for none.
    """

    votes: VoteSettings | None = None


def votes_of_model(model: ModelSettings) -> VoteSettings | None:
    """Returns how records vote for candidate images, by a plan's model; None if they do not."""
    return model.votes if isinstance(model, ImageMixtureSettings) else None


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
      depth: hidden layers of the decoder.
      likelihood: of the values of an image, given what is decoded.
      corruption: standard deviation of what is added to each value that the encoder sees, of a
        range of 1; the decoder still learns to write the record as it is.
      masking: share of the pixels that the encoder does not see.
      flow: affine couplings between the prior's Gaussian and the latents; 0: the Gaussian alone.
      beta: weight of the KL divergence.
    """

    hidden: Size = 256
    reading_hidden: Size = 256
    depth: Annotated[int, Meta(ge=2, le=6)] = 2
    likelihood: Likelihood = Likelihood.BERNOULLI
    corruption: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    masking: Annotated[float, Meta(ge=0.0, le=0.9)] = 0.0
    flow: Annotated[int, Meta(ge=0, le=8)] = 0
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
      generator: how it makes what it adds to an image.
      class_weight: of what a classifier of fakes loses, in the generator's loss.
      code_weight: of what is not told of the latent's first numbers from a fake, in that loss.
      codes: how many of the latent's numbers that are.
      growth: share of the rounds over which what the critic sees and the generator writes grows
        from a quarter of the frequencies to all; 0: all from the first round.
      certainty: share of its fakes that a critic scores below 0 before the generator's turn, which
        then waits for longer than `critic_steps`; 0: it does not (after Bie et al. 2023,
        arXiv:2302.02936). Scores of fakes alone are looked at, so it costs nothing.
    """

    hidden: Size = 256
    latent: Size = 32
    generator: Generation = Generation.PLAIN
    class_weight: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    code_weight: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0
    codes: Size = 4
    growth: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    certainty: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    lipschitz: Rate = 1.3
    loss: Rivalry = Rivalry.MOMENTS
    mismatch: Annotated[float, Meta(ge=0.0, le=1e3)] = 0.0

    def __post_init__(self) -> None:
        """Refuses settings that do not go together.

        Raises:
          ValueError: so the study is refused.
        """
        learned = self.reading is not Reading.FREQUENCIES or self.mismatch + self.growth > 0.0
        if self.loss is Rivalry.MOMENTS and learned:
            raise ValueError(
                'a critic of loss "moments" reads the same of an image in every round, which '
                "is averaged, and has no mismatch; leave reading, mismatch and growth "
                'out, or choose loss "hinge"'
            )
        if self.certainty > 0.0 and self.loss not in (Rivalry.HINGE, Rivalry.LOGISTIC):
            raise ValueError(
                f'scores of a critic of loss "{self.loss}" do not part at 0; leave certainty out, '
                'or choose loss "hinge" or "logistic"'
            )
        if self.codes > self.latent and self.code_weight > 0.0:
            raise ValueError(f"codes are numbers of the latent, of which there are {self.latent}")

    @property
    def usual_training(self) -> dict[str, Any]:
        """One round of all records for a critic of moments, which every round tells the same.

        The noise of many rounds of fewer records is larger in their average, and the chance of
        which records took part comes on top. As for a sum, no spare round is paid for.
        """
        if self.loss is not Rivalry.MOMENTS:
            return {}
        return {"num_rounds": 1, "sample_rate": 1.0, "spare_rounds": 0}


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
      num_rounds: of a critic that learns; one of moments is asked once, of all records.
      critic_steps: rounds between the generator's turns.
      generator_steps: of the generator in a turn; None: 1 for a critic that learns and would be
        outrun; for one of moments, which is the best one at every step, 2500 in all turns together
        from a look alone and 500 from all sums.
      generator_learning_rate: of its optimiser; None: 0.001 from a look alone, where it has all to
        learn, and 0.00005 from all sums, where it begins as the mixture.
      generator_decay: of its moving average, over steps.
    """

    num_rounds: Count = 100
    server_learning_rate: Rate = 0.002
    critic_steps: Count = 1
    generator_steps: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    generator_learning_rate: Rate | None = None
    generator_decay: Decay = 0.95
