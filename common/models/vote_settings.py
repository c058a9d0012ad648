"""Settings of votes for candidate images: public numbers and names only."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fedloom.common.typed import Line, Section, Sha256

__all__ = ["FREQUENCIES", "MOST_VOTE_ROUNDS", "VoteSettings"]

FREQUENCIES = "frequencies"
"""Features that need nothing installed: the frequencies that images are summed in."""
MOST_VOTE_ROUNDS = 3

_WARP = 0.5


class VoteSettings(Section, frozen=True, kw_only=True):
    """`[model.votes]` of an `image-mixture`.

    Attributes:
      rounds: of votes; candidates of a later one vary those that were chosen before.
      candidates: of each class in a round; the first half are images of the mixture.
      share: of the statistics' budget, for all rounds together.
      simulator: entry point of the group `fedloom.simulators`, at the coordinator, whose images
        are the other half in the first round; None: images of the mixture, varied.
      simulator_from: distribution and version that brought it; filled in where the study is read.
      features: in which the nearest is looked for: `FREQUENCIES`, or an entry point of the group
        `fedloom.embeddings` that is installed at every site.
      weights: SHA-256 of that embedding's weights; filled in likewise.
      warp: strength of the public variation of chosen images; 0 for none, None for 0.5 of those
        of a simulator and none of the mixture's.
    """

    rounds: Annotated[int, Meta(ge=1, le=MOST_VOTE_ROUNDS)] = 1
    candidates: Annotated[int, Meta(ge=2, le=2000)] = 200
    share: Annotated[float, Meta(ge=1e-3, le=0.9)] = 0.1
    simulator: Line | None = None
    simulator_from: Line | None = None
    features: Line = FREQUENCIES
    weights: Sha256 | None = None
    warp: Annotated[float, Meta(ge=0.0, le=4.0)] | None = None

    @property
    def variation(self) -> float:
        """Strength of the variation: a mixture's images differ enough, a simulator's less."""
        if self.warp is not None:
            return self.warp
        return 0.0 if self.simulator is None else _WARP
