"""Models: what is trained under privacy, what is published, and how records are drawn from it."""

from fedloom.common.models.private_model import PrivateModel, build_model

__all__ = ["PrivateModel", "build_model"]
