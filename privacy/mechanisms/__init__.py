"""What a site can answer, each answer beside its guarantee and its price.

Every mechanism takes private records and public parameters, and returns what may leave. Its
`event(...)` is the `DpEvent` that the ledger is charged with for one call. Nothing else of a call
may leave a site: no batch size, loss, norm, clip fraction or time.

  statistic   `noisy_sum`         one sum over all records (needs no torch)
  gradient    `noisy_gradient`    one sum of clipped gradients over a Poisson-sampled batch
  training    `private_training`  weights after local steps of DP-SGD
"""

from __future__ import annotations

__all__: list[str] = []
