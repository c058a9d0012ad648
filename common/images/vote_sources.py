"""What a study of votes names and does not hold: a simulator's package, an embedding's weights.

Both are filled in where the study is read, so that they are in the plan that stewards sign: by
whoever has the packages, or by hand where they are not installed.
"""

from __future__ import annotations

import msgspec

from fedloom.common.entry_points import SIMULATORS, from_package, installed
from fedloom.common.errors import ConfigError, StudyError
from fedloom.common.images.coder import ImageCoder
from fedloom.common.images.embedding import check_embedding, installed_weights
from fedloom.common.models.image_settings import ImageMixtureSettings
from fedloom.common.models.vote_settings import FREQUENCIES, VoteSettings

__all__ = ["check_named", "check_site", "located_votes"]


def located_votes(model: ImageMixtureSettings, where: str) -> ImageMixtureSettings:
    """Fills in where a simulator comes from, and the digest of an embedding's weights.

    Args:
      model: as the study has it.
      where: name of the study, for messages.

    Raises:
      StudyError: a package is not installed here and the study does not say it, or is another.
    """
    votes = model.votes
    if votes is None:
        return model
    try:
        if votes.simulator is not None and votes.simulator_from is None:
            found = from_package(installed(SIMULATORS, votes.simulator))
            votes = msgspec.structs.replace(votes, simulator_from=found)
        if votes.features != FREQUENCIES and votes.weights is None:
            found = installed_weights(votes.features)
            votes = msgspec.structs.replace(votes, weights=found)
        check_named(votes)
    except ConfigError as error:
        raise StudyError(
            f"{where}: [model.votes]: {error}; where it is not installed, name simulator_from or "
            "weights in the study"
        ) from error
    return msgspec.structs.replace(model, votes=votes)


def check_named(votes: VoteSettings) -> None:
    """Refuses settings that name something without saying which, or say it of nothing.

    Raises:
      ConfigError: they do.
    """
    if (votes.simulator is None) != (votes.simulator_from is None):
        raise ConfigError("simulator and simulator_from must be there together: fill in both")
    if (votes.features == FREQUENCIES) != (votes.weights is None):
        raise ConfigError(
            f'weights must be there for an embedding, and not for features = "{FREQUENCIES}": '
            "fill it in, or remove it"
        )


def check_site(coder: ImageCoder) -> None:
    """Refuses a site that lacks the plan's embedding, before any record is read.

    Raises:
      ConfigError: it does, or has another; or the embedding does not see each image alone.
    """
    votes = coder.votes
    if votes is None or votes.features == FREQUENCIES:
        return
    shape = coder.shape
    check_embedding(votes.features, votes.weights, (shape.height, shape.width, shape.channels))
