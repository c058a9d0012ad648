"""Writes the evidence for a release: each site's signed part of every round, as it left the site.

    evidence.json                     plan and run that the parts belong to
    round-0001/NAME.safetensors       the signed answer of a site to a round

Guarantee: in per-site trust each part is private by itself, and its price is the round's event.
With a secure sum a part is masked and looks uniform to all who lack the keys that the sites share
in pairs; its noise alone is only a share of what the price counts on. So evidence is as private as
the sum for as long as X25519, HKDF-SHA256 and AES-256 hold and the sites' exchange keys stay
secret: it is written only when it is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedloom.common.digest import canonical_json
from fedloom.common.errors import ConfigError
from fedloom.privacy.answers.files import (
    EVIDENCE,
    EVIDENCE_FORMAT,
    PARTS,
    part_path,
)
from fedloom.privacy.release.run_files import FinishedRun

__all__ = ["written_evidence"]


@contextmanager
def written_evidence(run: FinishedRun, out: Path) -> Iterator[None]:
    """Writes the parts of a finished run, a file at a time; takes them back if what follows fails.

    Args:
      run: the run.
      out: folder to make; it must not exist.

    Raises:
      ConfigError: `out` exists, or the run folder lacks a round's parts.
    """
    if out.exists():
        raise ConfigError(f"{out} exists; evidence never changes, choose another folder")
    out.mkdir(parents=True)
    try:
        header = {"format": EVIDENCE_FORMAT, "plan": run.plan.digest(), "run": run.name}
        (out / EVIDENCE).write_bytes(canonical_json(header))
        for asked in run.plan.rounds:
            kept = part_path(run.path / PARTS, asked.round, "-").parent
            made = part_path(out, asked.round, "-").parent
            parts = sorted(kept.glob("*.safetensors"))
            if not parts:
                raise ConfigError(
                    f"{kept} holds no part of round {asked.round}; parts that were deleted cannot "
                    "be had again: restore the run folder from a backup, or build without evidence"
                )
            made.mkdir()
            for part in parts:
                shutil.copyfile(part, made / part.name)
        yield
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
