"""The kinds of model: one entry each, and nothing about a kind anywhere else.

An entry holds a kind's settings with their defaults and ranges, what it is trained by, how large
it is, and where its parts are: the private module that sites train, the learner of the
coordinator, the source that records are drawn from. Parts are named, not imported: a study is
checked, and a mixture released and verified, on machines without torch.

A new kind that is not trained is an entry here and a learner; a trained one adds its module:
docs/extending.md walks through both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from fedloom.common.encoding import Encoding
from fedloom.common.errors import StudyError
from fedloom.common.grid import DEFAULT_BINS, FINE_BINS
from fedloom.common.images.generator_nets import generator_parameters
from fedloom.common.images.net_sizes import critic_parameters, vae_parameters
from fedloom.common.models.image_settings import (
    ImageGanGradients,
    ImageGanSettings,
    ImageMixtureSettings,
    ImageVaeGradients,
    ImageVaeSettings,
)
from fedloom.common.models.settings import (
    Count,
    Decay,
    GradientRounds,
    ModelSettings,
    Rate,
    Size,
    Training,
    WeightRounds,
)
from fedloom.common.records import Coder
from fedloom.common.typed import read_typed
from fedloom.common.vocabulary import Exchange

__all__ = [
    "MODELS",
    "GanGradients",
    "GanSettings",
    "GanWeights",
    "MixtureSettings",
    "ModelKind",
    "ModelSettings",
    "SchemaSettings",
    "TreeSettings",
    "VaeGradients",
    "VaeSettings",
    "VaeWeights",
    "model_kind",
    "num_parameters",
    "read_model",
]


class MixtureSettings(ModelSettings, tag_field="kind", tag="mixture", frozen=True, kw_only=True):
    """A mixture of products, made from the noisy counts alone.

    Attributes:
      components: of each class, at most.
    """

    components: Count = 600


class TreeSettings(ModelSettings, tag_field="kind", tag="tree", frozen=True, kw_only=True):
    """A clique tree reweighted by further tables, made from the noisy counts alone.

    Attributes:
      max_clique: cells of one clique's table, at most.
    """

    max_clique: Annotated[int, Meta(ge=1, le=1_000_000)] = 100_000


class VaeSettings(ModelSettings, tag_field="kind", tag="vae", frozen=True, kw_only=True):
    """A conditional VAE.

    Attributes:
      hidden: width of the hidden layers.
      latent: dimensions of the latent.
      beta: weight of the KL divergence.
    """

    hidden: Size = 64
    latent: Size = 8
    beta: Annotated[float, Meta(ge=0.0, le=1e3)] = 1.0


class GanSettings(ModelSettings, tag_field="kind", tag="gan", frozen=True, kw_only=True):
    """A conditional GAN.

    Attributes:
      hidden: width of the generator's hidden layer.
      latent: dimensions of the latent.
      critic_hidden: width of the critic's hidden layer.
    """

    hidden: Size = 64
    latent: Size = 8
    critic_hidden: Size = 64


class SchemaSettings(ModelSettings, tag_field="kind", tag="schema", frozen=True, kw_only=True):
    """No model: the study completes its schema and makes no records."""


class VaeWeights(WeightRounds, frozen=True, kw_only=True):
    """Rounds of weights of a VAE."""

    learning_rate: Rate = 0.02


class VaeGradients(GradientRounds, frozen=True, kw_only=True):
    """Rounds of gradients of a VAE.

    Attributes:
      average_decay: of the moving average that is published.
    """

    server_learning_rate: Rate = 0.02
    average_decay: Decay = 0.95


class GanWeights(WeightRounds, frozen=True, kw_only=True):
    """Rounds of weights of a critic; the generator's steps cost nothing.

    Attributes:
      generator_steps: of the generator after a round.
      generator_learning_rate: of its optimiser.
      generator_decay: of its moving average.
    """

    learning_rate: Rate = 0.01
    generator_steps: Annotated[int, Meta(ge=0, le=100_000)] = 100
    generator_learning_rate: Rate = 0.005
    generator_decay: Decay = 0.8


class GanGradients(GradientRounds, frozen=True, kw_only=True):
    """Rounds of gradients of a critic.

    Attributes:
      critic_steps: rounds between the generator's steps.
      generator_steps: as for `GanWeights`, like the two below it.
    """

    server_learning_rate: Rate = 0.01
    critic_steps: Count = 20
    generator_steps: Annotated[int, Meta(ge=0, le=100_000)] = 100
    generator_learning_rate: Rate = 0.005
    generator_decay: Decay = 0.8


Parameters = Callable[[Any, Any], int]


@dataclass(frozen=True, kw_only=True)
class ModelKind:
    """What fedloom knows of a kind of model.

    Attributes:
      name: as `[model] kind` says it.
      settings: type of its settings, defaults included.
      training: by what a site sends, the settings of its rounds; empty for a kind that is made
        from statistics alone.
      records: the kinds of record that it is a model of.
      coder: how records become codes, "module:name", from model, schema and target; None takes the
        coder of the schema's kind of record.
      located: fills in what a study names and does not hold, "module:name", from settings and
        the place of the study for messages; None if there is nothing of that kind.
      needed_at_sites: refuses a site that lacks what the model needs beside fedloom,
        "module:name", from the coder; None likewise.
      needed_at_coordinator: the same there.
      default_bins: cells of an axis of numbers or times whose column does not say how many.
      measures: which statistics a study asks, "module:name"; see `fedloom.privacy.measures`.
      statistics: what the opened sums say together, "module:name", from plan and opened rounds;
        see `fedloom.privacy.answers.opened_marginals`.
      design: the arrays of the next statistic's request, "module:name", from plan, round and the
        rounds opened before; see `fedloom.server.binning`.
      learner: the coordinator's side, "module:name"; None if no generator comes of it.
      source: what draws from the published generator, "module:name"; None likewise.
      fitted: names of a published generator's settings that the fit decides, not the plan.
      shapes: names and shapes of the published generator's arrays from its settings and the
        encoding, "module:name"; None likewise.
      module: the private module that sites train, "module:name"; None if nothing is trained.
      num_parameters: coordinates of one private gradient, from settings and coder.
      generator_parameters: of what the server trains beside it, from the same.
    """

    name: str
    settings: type[ModelSettings]
    training: Mapping[Exchange, type[Training]] = field(default_factory=dict)
    records: tuple[str, ...] = ("table",)
    coder: str | None = None
    located: str | None = None
    needed_at_sites: str | None = None
    needed_at_coordinator: str | None = None
    default_bins: int = DEFAULT_BINS
    measures: str = "fedloom.privacy.measures:marginal_measures"
    statistics: str = "fedloom.privacy.answers.opened_marginals:noisy_statistics"
    design: str = "fedloom.server.binning:pair_design"
    learner: str | None = None
    source: str | None = None
    fitted: frozenset[str] = frozenset()
    shapes: str | None = None
    module: str | None = None
    num_parameters: Parameters | None = None
    generator_parameters: Parameters = lambda settings, encoding: 0

    @property
    def trains(self) -> bool:
        """Whether training rounds follow the statistics."""
        return bool(self.training)

    @property
    def makes_records(self) -> bool:
        """Whether a generator comes of it."""
        return self.learner is not None


def _vae_parameters(settings: VaeSettings, encoding: Encoding) -> int:
    hidden = _padded(settings.hidden)
    read = _linear(encoding.width + encoding.num_classes, hidden) + 2 * hidden
    return read + 2 * _linear(hidden, settings.latent) + _decoder(settings, encoding)


def _decoder(settings: VaeSettings | GanSettings, encoding: Encoding) -> int:
    hidden = _padded(settings.hidden)
    return _linear(settings.latent + encoding.num_classes, hidden) + _linear(hidden, encoding.width)


def _critic_parameters(settings: GanSettings, encoding: Encoding) -> int:
    hidden = settings.critic_hidden
    return _linear(encoding.width + encoding.num_classes, hidden) + _linear(hidden, 1)


def _linear(inputs: int, outputs: int) -> int:
    return (_padded(inputs) + 1) * _padded(outputs)


def _padded(size: int) -> int:
    # As `fedloom.common.models.decoder.padded`, which needs torch.
    return -(-size // 16) * 16


MODELS: dict[str, ModelKind] = {
    entry.name: entry
    for entry in (
        ModelKind(
            name="mixture",
            settings=MixtureSettings,
            learner="fedloom.server.learners.mixture:MixtureLearner",
            source="fedloom.common.models.mixture:mixture_source",
            # A mixture has fewer components than the plan allows, where more would take too long.
            fitted=frozenset({"components"}),
            shapes="fedloom.common.models.mixture:mixture_shapes",
        ),
        ModelKind(
            name="image-mixture",
            settings=ImageMixtureSettings,
            records=("image",),
            coder="fedloom.common.images.coder:voting_coder",
            located="fedloom.common.images.vote_sources:located_votes",
            needed_at_sites="fedloom.common.images.vote_sources:check_site",
            needed_at_coordinator="fedloom.server.images.simulators:check_coordinator",
            measures="fedloom.privacy.image_measures:image_measures",
            statistics="fedloom.privacy.answers.opened_images:noisy_images",
            design="fedloom.server.images.candidates:voting_design",
            learner="fedloom.server.images.learner:ImageMixtureLearner",
            source="fedloom.common.images.voted:mixture_images",
            shapes="fedloom.common.images.sampler:image_shapes",
            fitted=frozenset({"directions", "groups", "voted"}),
        ),
        ModelKind(
            name="tree",
            settings=TreeSettings,
            default_bins=FINE_BINS,
            measures="fedloom.privacy.tree_measures:tree_measures",
            design="fedloom.server.tree_design:tree_design",
            learner="fedloom.server.learners.tree:TreeLearner",
            source="fedloom.common.sampling.tree:TreeSource",
            fitted=frozenset(
                {"groups", "frequent", "cliques", "parents", "coarse", "parities", "halves"}
                | {"pool_rows", "pool_seed"}
            ),
            shapes="fedloom.common.models.tree:tree_shapes",
        ),
        ModelKind(
            name="vae",
            settings=VaeSettings,
            training={Exchange.WEIGHTS: VaeWeights, Exchange.GRADIENTS: VaeGradients},
            learner="fedloom.server.learners.vae:VaeLearner",
            source="fedloom.common.sampling.latents:DecoderSource",
            shapes="fedloom.common.sampling.decoder:decoder_shapes",
            module="fedloom.common.models.vae:TabularVae",
            num_parameters=_vae_parameters,
        ),
        ModelKind(
            name="gan",
            settings=GanSettings,
            training={Exchange.WEIGHTS: GanWeights, Exchange.GRADIENTS: GanGradients},
            learner="fedloom.server.learners.gan:GanLearner",
            source="fedloom.common.sampling.latents:DecoderSource",
            shapes="fedloom.common.sampling.decoder:decoder_shapes",
            module="fedloom.common.models.gan:TabularGan",
            num_parameters=_critic_parameters,
            generator_parameters=_decoder,
        ),
        ModelKind(
            name="image-vae",
            settings=ImageVaeSettings,
            training={Exchange.GRADIENTS: ImageVaeGradients},
            records=("image",),
            measures="fedloom.privacy.image_measures:image_measures",
            statistics="fedloom.privacy.answers.opened_images:noisy_images",
            design="fedloom.server.images.design:image_design",
            learner="fedloom.server.images.vae:ImageVaeLearner",
            source="fedloom.common.images.written:WrittenImages",
            shapes="fedloom.common.images.written:written_shapes",
            module="fedloom.common.models.image_vae:ImageVae",
            num_parameters=vae_parameters,
        ),
        ModelKind(
            name="image-gan",
            settings=ImageGanSettings,
            training={Exchange.GRADIENTS: ImageGanGradients},
            records=("image",),
            measures="fedloom.privacy.image_measures:image_measures",
            statistics="fedloom.privacy.answers.opened_images:noisy_images",
            design="fedloom.server.images.design:image_design",
            learner="fedloom.server.images.gan:ImageGanLearner",
            source="fedloom.common.images.corrected:CorrectedImages",
            # Directions and groups follow from the sums, as those of an image-mixture.
            fitted=frozenset({"directions", "groups"}),
            shapes="fedloom.common.images.corrected:corrected_shapes",
            module="fedloom.common.models.image_gan:ImageGan",
            num_parameters=critic_parameters,
            generator_parameters=generator_parameters,
        ),
        ModelKind(
            name="schema",
            settings=SchemaSettings,
            coder="fedloom.common.discovery:open_columns",
            measures="fedloom.privacy.measures:discovery_measures",
        ),
    )
}


def model_kind(name: object) -> ModelKind:
    """Returns the entry of a kind.

    Raises:
      StudyError: there is no such kind.
    """
    entry = MODELS.get(name) if isinstance(name, str) else None
    if entry is None:
        raise StudyError(f"[model] kind = {name!r} must be one of {', '.join(MODELS)}")
    return entry


def read_model(table: Mapping[str, Any], *, where: str) -> ModelSettings:
    """Reads `[model]`: `kind`, and the settings of that kind.

    Raises:
      StudyError: the kind or a setting is unknown, or a setting is out of range.
    """
    try:
        kind = model_kind(table.get("kind"))
    except StudyError as error:
        raise StudyError(f"{where}: {error}") from None
    return read_typed(table, kind.settings, where=f"{where}: [model]", error=StudyError)


def num_parameters(model: ModelSettings, coder: Coder) -> int:
    """Returns the coordinates of one private gradient; 0 for a kind that is not trained."""
    count = model_kind(model.kind).num_parameters
    return 0 if count is None else count(model, coder)
