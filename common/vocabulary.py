"""The closed words of studies, plans and messages, each set as one type.

A word in a file is read into its member (`fedloom.common.typed`), so a word that is not known is
refused where it is read, and code compares members, never texts.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "Engine",
    "Exchange",
    "Generation",
    "MechanismKind",
    "NoiseAt",
    "Optimizer",
    "Query",
    "Reading",
    "Rivalry",
    "Stage",
    "Status",
    "Trust",
    "Unit",
]


class Unit(StrEnum):
    """What one unit of privacy is."""

    RECORD = "record"
    PERSON = "person"
    """All rows of one id."""


class Trust(StrEnum):
    """Who must be trusted with what."""

    PER_SITE = "per-site"
    """Every answer of a site satisfies the guarantee on its own, towards everybody."""
    SECURE_SUM = "secure-sum"
    """The coordinator sees sums over sites only; the sum satisfies the guarantee."""


class Query(StrEnum):
    """What a coordinator can ask of a site."""

    PREPARE = "prepare"
    """Reserve the plan and read the records; what it says is public."""
    FINISH = "finish"
    """Close the run and return the ledger's extract."""
    STATISTIC = "statistic"
    GRADIENT = "gradient"
    TRAIN = "train"
    EVALUATE = "evaluate"


class Status(StrEnum):
    """How a site's answer begins: it answers, or says by one code why it does not."""

    OK = "ok"
    MALFORMED = "malformed"
    """Cannot be read as a request."""
    UNSIGNED = "unsigned"
    """Not signed by the coordinator of the approved plan that it names."""
    NOT_APPROVED = "not-approved"
    """The steward has not approved this plan, or revoked or paused it."""
    USED_UP = "used-up"
    """Every run that the steward approved is used."""
    OUTSIDE_PLAN = "outside-plan"
    """Asks for what the approved plan does not hold."""
    CONFLICT = "conflict"
    """Another request was answered under the same key."""
    BUDGET = "budget"
    """The ledger has no room."""
    CLOSED = "closed"
    """The run is finished at this site."""
    STALE = "stale"
    """Names an answer that this site did not promise; it must be prepared again."""
    TURNED_BACK = "turned-back"
    """The ledger of this site, or of a fellow, is older than one of its answers."""
    OTHER_VERSION = "other-version"
    """The approved plan was resolved by another minor version of fedloom than the site's."""
    UNAVAILABLE = "unavailable"
    """The site cannot answer now; its steward can see why."""


class Stage(StrEnum):
    """What a phase of a plan is for."""

    STATISTICS = "statistics"
    """Sums that the learner starts from; opened and published."""
    TRAINING = "training"
    """Rounds that improve the model; their answers stay with the coordinator."""
    EVALUATION = "evaluation"
    """Sums over the units that are held back from everything else; opened and published."""


class MechanismKind(StrEnum):
    """Which mechanism noises an answer."""

    GAUSSIAN = "gaussian"
    SUBSAMPLED_GAUSSIAN = "poisson-subsampled-gaussian"


class NoiseAt(StrEnum):
    """Where the noise of an answer is complete."""

    EACH_SITE = "each-site"
    SUM = "sum-in-shares"


class Exchange(StrEnum):
    """What a site sends in a training round."""

    WEIGHTS = "weights"
    """Weights after local steps of DP-SGD (query `train`)."""
    GRADIENTS = "gradients"
    """One noised sum of clipped gradients (query `gradient`)."""


class Engine(StrEnum):
    """How clipped gradients are computed."""

    FUSED = "fused"
    OPACUS = "opacus"


class Reading(StrEnum):
    """How a network looks at an image: its low frequencies by dense layers, or convolutions."""

    FREQUENCIES = "frequencies"
    CONVOLUTIONS = "convolutions"


class Likelihood(StrEnum):
    """What a VAE of images says of a value: a probability of white, or a width about a level."""

    BERNOULLI = "bernoulli"
    DISCRETISED = "discretised"


class Rivalry(StrEnum):
    """What a critic loses by a score of the wrong sign, and a generator by its fakes' scores.

    With `MOMENTS` a critic is linear in public features, and the best one is known at once.
    """

    HINGE = "hinge"
    LOGISTIC = "logistic"
    WASSERSTEIN = "wasserstein"
    MOMENTS = "moments"


class Generation(StrEnum):
    """How the network of an `image-gan` makes what it adds to an image.

    `MODULATED`: latent and class scale and shift each hidden layer. `CONVOLUTIONS`: a coarse grid
    that is doubled until it has the image's size, where the others write low frequencies.
    """

    PLAIN = "plain"
    MODULATED = "modulated"
    CONVOLUTIONS = "convolutions"


class Optimizer(StrEnum):
    """The optimiser of a site's local steps."""

    ADAM = "adam"
    SGD = "sgd"
