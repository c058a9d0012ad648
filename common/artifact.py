"""A generator that has left training: its kind, its settings and its arrays.

An artifact is all that `fedloom sample` needs beside the schema. It is kept as canonical JSON
and safetensors, never pickle: loading one runs no code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from fedloom.common.arrays import read_arrays
from fedloom.common.digest import canonical_json
from fedloom.common.errors import ReleaseError
from fedloom.common.strict_json import read_json

__all__ = ["Artifact"]

_CONFIG = "config.json"
_ARRAYS = "model.safetensors"
_VERSION = 1
_MAX_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A published generator.

    Attributes:
      kind: "mixture", "vae" or "gan".
      config: settings, as JSON.
      arrays: named arrays. `class_prior` (num_classes,) is among them for every kind.
    """

    kind: str
    config: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, np.dtype[Any]]]

    def save(self, folder: Path) -> None:
        """Writes `config.json` and `model.safetensors` into a folder, made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        header = {"version": _VERSION, "kind": self.kind, "config": self.config}
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        (folder / _CONFIG).write_bytes(canonical_json(header) + b"\n")
        (folder / _ARRAYS).write_bytes(safetensors.numpy.save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Artifact:
        """Reads an artifact that `save` wrote.

        Raises:
          ReleaseError: a file is missing, damaged or of a version that this fedloom cannot read.
        """
        try:
            header = read_json(folder / _CONFIG)
            arrays = read_arrays(folder / _ARRAYS, _MAX_BYTES)
            if not isinstance(header, dict) or set(header) != {"version", "kind", "config"}:
                raise ReleaseError(f"{_CONFIG} has other keys than version, kind and config")
            version, kind, config = header["version"], header["kind"], header["config"]
        except ReleaseError as error:
            raise ReleaseError(
                f"{folder} should hold a generator as {_CONFIG} and {_ARRAYS}, but they cannot "
                f"be read ({error}); take the release or run again from its source"
            ) from error
        if version != _VERSION:
            raise ReleaseError(
                f"{folder} holds a generator of format {version}, this fedloom reads {_VERSION}; "
                "install the version of fedloom that made it"
            )
        return cls(kind=kind, config=config, arrays=arrays)
