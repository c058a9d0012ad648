"""What a site can answer, each answer beside its guarantee and its price.

Every mechanism takes private records and public parameters, and returns what may leave. Beside
it stands `event(...)`, the `DpEvent` that the ledger is charged with for one call. Nothing else
of a call may leave a site: no batch size, loss, norm, clip fraction or time.
"""

from fedloom.privacy.mechanisms import gradient, statistic, training
from fedloom.privacy.mechanisms.gradient import noisy_gradient
from fedloom.privacy.mechanisms.statistic import noisy_sum
from fedloom.privacy.mechanisms.training import private_training

__all__ = [
    "gradient",
    "noisy_gradient",
    "noisy_sum",
    "private_training",
    "statistic",
    "training",
]
