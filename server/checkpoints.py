"""Checkpoints: the coordinator's state after each round, whole or not at all.

A checkpoint holds what the next request is made from, so that a resumed run asks exactly what
the interrupted one asked and gets the stored answers. It is one safetensors file of mode 0600
whose metadata holds the round and the state's plain values. Checkpoints hold more than a release
tells and are deleted when the run is done.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from fedloom.common.digest import canonical_json
from fedloom.common.errors import IncompleteError
from fedloom.common.files import write_whole

__all__ = ["Checkpoint", "Checkpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State after a round.

    Attributes:
      round: number of the last round that is in the state.
      arrays: the state's arrays.
      meta: the state's plain values.
    """

    round: int
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]]
    meta: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run; only the newest is kept."""

    def __init__(self, folder: Path) -> None:
        """Names the folder."""
        self._folder = folder

    def save(self, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and drops older ones."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        header = {"round": checkpoint.round, "meta": checkpoint.meta}
        data = safetensors.numpy.save(
            {name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()},
            metadata={"checkpoint": canonical_json(header).decode()},
        )
        path = self._path(checkpoint.round)
        write_whole(path, data, private=True)
        for older in self._folder.glob("round-*.safetensors"):
            if older != path:
                older.unlink()

    def newest(self) -> Checkpoint | None:
        """Reads the newest checkpoint, if there is one.

        Raises:
          IncompleteError: it cannot be read.
        """
        paths = sorted(self._folder.glob("round-*.safetensors"))
        if not paths:
            return None
        data = paths[-1].read_bytes()
        try:
            arrays = safetensors.numpy.load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            header = json.loads(metadata["checkpoint"])
            return Checkpoint(round=header["round"], arrays=arrays, meta=header["meta"])
        except (ValueError, KeyError, safetensors.SafetensorError) as error:
            raise IncompleteError(
                f"{paths[-1]}: the checkpoint cannot be read; restore the run folder from a "
                "backup, or begin a new run, which needs room in the sites' budgets"
            ) from error

    def clear(self) -> None:
        """Deletes all checkpoints."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, round_number: int) -> Path:
        return self._folder / f"round-{round_number:06d}.safetensors"
