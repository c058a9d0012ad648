"""Runs a whole federation through real Flower processes on this machine."""

from __future__ import annotations

from fedloom.deployment.run import deploy_run

__all__ = ["deploy_run"]
