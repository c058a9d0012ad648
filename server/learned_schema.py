"""The product of a study of kind "schema": a completed schema, and what was found on the way.

In the run's folder:

    schema.toml      the completed schema, its origin and price in it; absent where nothing of any
                     column stands out of the noise
    findings.json    one entry for each open column, made of the noisy sum alone
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedloom.common.errors import ConfigError
from fedloom.common.files import write_whole
from fedloom.common.schema import Schema
from fedloom.common.schema_origin import SchemaOrigin
from fedloom.common.schema_text import schema_text
from fedloom.privacy.plan import Plan
from fedloom.server.learners.open_columns import Finding, complete_schema

__all__ = ["FINDINGS", "SCHEMA", "LearnedSchema"]

SCHEMA, FINDINGS = "schema.toml", "findings.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedSchema:
    """What a study of kind "schema" found; post-processing of one noisy sum.

    Attributes:
      schema: the completed schema; None where no column is left.
      findings: plain values of each open column's `Finding`.
      text: of the schema's file; empty where there is none.
    """

    schema: Schema | None
    findings: Sequence[dict[str, Any]]
    text: str

    @classmethod
    def learn(
        cls, plan: Plan, vector: NDArray[np.float64], noise_std: float, *, runs: int = 1
    ) -> LearnedSchema:
        """Completes the schema of a plan.

        Args:
          plan: a plan that `learns_schema`.
          vector: the noisy sum over sites.
          noise_std: standard deviation of the noise in each cell of it.
          runs: how many runs of the plan were granted or answered, at the site with most of them.
        """
        schema, findings = complete_schema(plan.discovery, vector, noise_std)
        plain = [finding.to_dict() for finding in findings]
        if schema is None:
            return cls(schema=None, findings=plain, text="")
        names = tuple(finding.column for finding in findings if finding.complete)
        if names:
            origin = SchemaOrigin(
                columns=names,
                study=plan.study_digest,
                plan=plan.digest(),
                runs=runs,
                epsilon=plan.price(runs).epsilon,
                delta=plan.delta,
            )
            schema = dataclasses.replace(schema, learned=(*schema.learned, origin))
        text = schema_text(schema, head=_head(plan, runs, findings), notes=_notes(findings))
        return cls(schema=schema, findings=plain, text=text)

    def save(self, folder: Path) -> None:
        """Writes the files into a run's folder; the findings last, which say that all is there."""
        files = {FINDINGS: json.dumps(list(self.findings), indent=2, ensure_ascii=False) + "\n"}
        if self.schema is not None:
            files = {SCHEMA: self.text, **files}
        for name, text in files.items():
            write_whole(folder / name, text)

    @classmethod
    def load(cls, folder: Path) -> LearnedSchema:
        """Reads what `save` wrote.

        Raises:
          ConfigError: the folder holds no findings.
        """
        try:
            findings = json.loads((folder / FINDINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{folder} holds no {FINDINGS}; finish the run by `fedloom schema learn --resume`"
            ) from error
        path = folder / SCHEMA
        if not path.exists():
            return cls(schema=None, findings=findings, text="")
        return cls(
            schema=Schema.load(path), findings=findings, text=path.read_text(encoding="utf-8")
        )

    @classmethod
    def exists(cls, folder: Path) -> bool:
        """Whether a run's folder holds the findings."""
        return (folder / FINDINGS).exists()


def _head(plan: Plan, runs: int, findings: Sequence[Finding]) -> list[str]:
    of_runs = "" if runs == 1 else f" in {runs} runs"
    lines = [
        f"Completed by the study {plan.name!r}, plan {plan.digest()},",
        f"which cost epsilon {plan.price(runs).epsilon:.4g} at delta {plan.delta:g} for one "
        f"{plan.privacy.unit}{of_runs}. Everything learned in it comes from",
        "one noisy sum over all sites; look through it before you use it. Approve studies on it",
        "with --clamp: rare values lie outside what noise lets through.",
    ]
    lines += [
        f"Left out: column {finding.column!r}: {finding.found}."
        for finding in findings
        if not finding.complete
    ]
    return lines


def _notes(findings: Sequence[Finding]) -> dict[str, list[str]]:
    return {
        finding.column: [f"Learned: {finding.found}; about {finding.records:,.0f} records."]
        for finding in findings
        if finding.complete
    }
