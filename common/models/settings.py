"""Settings that models share, with the ranges within which they may lie: public numbers only.

Few large steps beat many small ones under noise: at epsilon 3 the noise left after all steps
grows from 1.5 (sample_rate 0.2) to 2.2 (0.05) in units of C / N. Beyond that their number hardly
matters (docs/decisions/0007-neural-models-from-statistics.md). Adam does not depend on the scale
of gradients, so one learning rate serves sites of any size, and every site has the same sampling
rate, so that no batch size tells a site's number of records.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from fedloom.common.typed import Section, plain
from fedloom.common.vocabulary import Engine, Exchange, Optimizer, Query

__all__ = [
    "Count",
    "Decay",
    "GradientRounds",
    "ModelSettings",
    "Rate",
    "SampleRate",
    "Size",
    "Training",
    "WeightRounds",
]

Size = Annotated[int, Meta(ge=1, le=65_536)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Rate = Annotated[float, Meta(ge=1e-9, le=1e3)]
SampleRate = Annotated[float, Meta(gt=0.0, le=1.0)]
Decay = Annotated[float, Meta(ge=0.0, le=1.0)]
# Within these, sums of clipped gradients stay far from the end of a float's range.
Clip = Annotated[float, Meta(ge=1e-3, le=1e3)]


class ModelSettings(Section, frozen=True, kw_only=True):
    """`[model]` of any kind."""

    @property
    def kind(self) -> str:
        """The kind's name."""
        return str(type(self).__struct_config__.tag)

    @property
    def usual_training(self) -> dict[str, Any]:
        """Settings of `[training]` that these of the model call for, where a study names none."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, `kind` among them."""
        return dict(plain(self))


class Training(Section, frozen=True, kw_only=True):
    """`[training]` of a model that is trained under privacy, whatever it exchanges.

    Attributes:
      num_rounds: rounds, spare ones not counted.
      local_steps: steps of DP-SGD that a site takes in a round.
      sample_rate: probability of each unit to be in a batch.
      max_grad_norm: clip of one unit's gradient over all parameters.
      engine: how clipped gradients are computed.
      max_physical_batch: most records in memory at once; public.
      spare_rounds: rounds that make good void attempts of a secure sum; None lets the study's
        resolution choose.
    """

    num_rounds: Count
    local_steps: Count
    sample_rate: SampleRate
    max_grad_norm: Clip = 1.0
    engine: Engine
    max_physical_batch: Size
    spare_rounds: Annotated[int, Meta(ge=0, le=100_000)] | None = None

    @property
    def exchange(self) -> Exchange:
        """What a site sends in a round."""
        raise NotImplementedError

    @property
    def query(self) -> Query:
        """The query of a round."""
        return Query.TRAIN if self.exchange is Exchange.WEIGHTS else Query.GRADIENT


class WeightRounds(Training, frozen=True, kw_only=True):
    """Rounds of weights after local steps, averaged at the server.

    Attributes:
      learning_rate: of a site's optimiser.
      optimizer: of a site.
    """

    num_rounds: Count = 5
    local_steps: Count = 20
    sample_rate: SampleRate = 0.1
    engine: Engine = Engine.OPACUS
    # Opacus keeps a gradient for each record; a few of them stay in the cache. Measured: 64 at
    # once are five times faster than 512.
    max_physical_batch: Size = 64
    learning_rate: Rate
    optimizer: Optimizer = Optimizer.ADAM

    @property
    def exchange(self) -> Exchange:
        """Weights."""
        return Exchange.WEIGHTS


class GradientRounds(Training, frozen=True, kw_only=True):
    """Rounds of one noised sum of clipped gradients each; the server's optimiser takes the step.

    Attributes:
      server_learning_rate: of the server's optimiser.
    """

    num_rounds: Count = 60
    local_steps: Annotated[int, Meta(ge=1, le=1)] = 1
    sample_rate: SampleRate = 0.2
    engine: Engine = Engine.FUSED
    max_physical_batch: Size = 512
    server_learning_rate: Rate

    @property
    def exchange(self) -> Exchange:
        """Gradients."""
        return Exchange.GRADIENTS
