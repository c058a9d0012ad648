"""Sums of per-unit clipped gradients, by three engines behind one function."""

from fedloom.privacy.clipping.clipped_sum import ENGINES, Batch, Loss, clipped_gradient_sum

__all__ = ["ENGINES", "Batch", "Loss", "clipped_gradient_sum"]
