"""Synthetic records from a published generator: free of charge, however many.

Classes are drawn from the generator's noisy class prior, or fixed by a condition on the label,
which is exact. Records are drawn in chunks, so memory does not grow with their number where the
caller consumes them chunk by chunk.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.cells import category_key
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.schema import Schema

__all__ = ["sample", "sample_chunks", "sample_codes"]

Array = np.ndarray[Any, np.dtype[Any]]

_KINDS = ("mixture", "vae", "gan")
_CHUNK_ROWS = 1 << 16


def sample(
    artifact: Artifact,
    schema: Schema,
    target: str | None,
    num_rows: int,
    *,
    where: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> pd.DataFrame:
    """Draws synthetic records in the types and the column order of the schema.

    Args:
      artifact: the generator.
      schema: the public schema that it was made with.
      target: the study's label column, or None.
      num_rows: how many records, 0 or more.
      where: at most one condition, on the label: every record then has that label.
      seed: makes the draw repeatable; None draws afresh.

    Raises:
      ConfigError: `num_rows` is negative, or the condition names another column or an unknown
        label.
    """
    chunks = list(sample_chunks(artifact, schema, target, num_rows, where=where, seed=seed))
    return pd.concat(chunks, ignore_index=True)


def sample_chunks(
    artifact: Artifact,
    schema: Schema,
    target: str | None,
    num_rows: int,
    *,
    where: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Iterator[pd.DataFrame]:
    """Draws the records of `sample` in chunks, at least one."""
    if num_rows < 0:
        raise ConfigError(f"the number of rows must be 0 or more, got {num_rows}")
    encoding = Encoding(schema, target)
    prior = _conditioned(artifact, encoding, where)
    root = np.random.SeedSequence(seed)
    for start in range(0, max(num_rows, 1), _CHUNK_ROWS):
        # An empty table is cut from one record, so that its columns have their types.
        rows = max(min(_CHUNK_ROWS, num_rows - start), 1)
        rng = np.random.default_rng(root.spawn(1)[0])
        classes = rng.choice(encoding.num_classes, size=rows, p=prior)
        codes = _feature_codes(artifact, encoding, classes, int(rng.integers(2**63)))
        yield encoding.decode(codes, classes, rng).iloc[: num_rows - start]


def sample_codes(
    artifact: Artifact, encoding: Encoding, num_rows: int, *, seed: int
) -> tuple[Array, Array]:
    """Draws codes (N, m) of the features and the classes (N,) of as many records."""
    rng = np.random.default_rng(seed)
    prior = artifact.arrays["class_prior"]
    classes = rng.choice(encoding.num_classes, size=num_rows, p=prior / prior.sum())
    return _feature_codes(artifact, encoding, classes, int(rng.integers(2**63))), classes


def _feature_codes(artifact: Artifact, encoding: Encoding, classes: Array, seed: int) -> Array:
    if artifact.kind not in _KINDS:
        raise ConfigError(
            f"generators of kind {artifact.kind!r} are unknown; known: {', '.join(_KINDS)}"
        )
    module = importlib.import_module(f"fedloom.common.models.{artifact.kind}")
    codes: Array = module.sample_codes(artifact, encoding, classes, seed)
    return codes


def _conditioned(artifact: Artifact, encoding: Encoding, where: Mapping[str, Any] | None) -> Array:
    """Returns the probability of each class under the condition."""
    prior = np.asarray(artifact.arrays["class_prior"], dtype=np.float64)
    if not where:
        return np.asarray(prior / prior.sum())
    names = encoding.schema.names
    for name in where:
        if name not in names:
            raise ConfigError(f"no column '{name}' in the schema; it has {', '.join(names)}")
        if name != encoding.target:
            label = "the study has none" if encoding.target is None else f"'{encoding.target}'"
            raise ConfigError(
                f"a condition on '{name}' is not available yet; conditions are on the label "
                f"column alone ({label})"
            )
    fixed = np.zeros(encoding.num_classes)
    fixed[_class_of(encoding, str(where[str(encoding.target)]))] = 1.0
    return fixed


def _class_of(encoding: Encoding, wanted: str) -> int:
    """Returns the class of a label, compared as the encoding compares categories."""
    labels = [
        (code, label)
        for code, label in enumerate(encoding.class_labels)
        if encoding.class_sampleable[code]
    ]
    for form in (str, category_key):
        found = [code for code, label in labels if form(label) == form(wanted)]
        if len(found) == 1:
            return found[0]
    raise ConfigError(
        f"'{encoding.target}' has no value '{wanted}' to sample; "
        f"known: {', '.join(label for _, label in labels)}"
    )
