"""Settings of models and training that a study may leave out: public numbers only.

Few large steps beat many small ones under noise: at epsilon 3 the noise left after all steps
grows from 1.5 (sample_rate 0.2) to 2.2 (0.05) in units of C / N. Beyond that their number hardly
matters (docs/decisions/0007-neural-models-from-statistics.md). Adam does not depend on the scale
of gradients, so one learning rate serves sites of any size, and every site has the same sampling
rate, so that no batch size tells a site's number of records.
"""

from __future__ import annotations

from typing import Any

from fedloom.common.errors import StudyError

__all__ = ["model_defaults", "training_defaults"]

_MODELS: dict[str, dict[str, Any]] = {
    "mixture": {"kind": "mixture", "components": 600},
    "vae": {"kind": "vae", "hidden": 64, "latent": 8, "beta": 1.0},
    "gan": {"kind": "gan", "hidden": 64, "latent": 8, "critic_hidden": 64},
    "schema": {"kind": "schema"},
}
_GENERATOR = {
    "generator_steps": 100,
    "generator_learning_rate": 0.005,
    "generator_decay": 0.8,
}
_TRAINING: dict[tuple[str, str], dict[str, Any]] = {
    ("vae", "weights"): {"learning_rate": 0.02},
    ("vae", "gradients"): {"server_learning_rate": 0.02, "average_decay": 0.95},
    ("gan", "weights"): {"learning_rate": 0.01, **_GENERATOR},
    ("gan", "gradients"): {"server_learning_rate": 0.01, "critic_steps": 20, **_GENERATOR},
}
_EXCHANGES: dict[str, dict[str, Any]] = {
    "weights": {
        "num_rounds": 5,
        "local_steps": 20,
        "sample_rate": 0.1,
        "engine": "opacus",
        "optimizer": "adam",
        # Opacus keeps a gradient for each record; a few of them stay in the cache. Measured: 64
        # at once are five times faster than 512.
        "max_physical_batch": 64,
    },
    "gradients": {
        "num_rounds": 60,
        "local_steps": 1,
        "sample_rate": 0.2,
        "engine": "fused",
        "max_physical_batch": 512,
    },
}
_SHARED = {"max_grad_norm": 1.0}


def model_defaults(kind: str) -> dict[str, Any]:
    """Returns the settings of a model, `kind` among them.

    Raises:
      StudyError: there is no such model.
    """
    if kind not in _MODELS:
        raise StudyError(f"model kind = {kind!r}; choose one of {', '.join(sorted(_MODELS))}")
    return dict(_MODELS[kind])


def training_defaults(kind: str, exchange: str) -> dict[str, Any]:
    """Returns the settings of the training rounds of a model.

    Raises:
      StudyError: the model is not trained, or there is no such exchange.
    """
    if exchange not in _EXCHANGES:
        raise StudyError(f'exchange = {exchange!r}; choose "weights" or "gradients"')
    if (kind, exchange) not in _TRAINING:
        raise StudyError(f"model kind = {kind!r} has no training rounds")
    return {**_SHARED, **_EXCHANGES[exchange], **_TRAINING[kind, exchange]}
