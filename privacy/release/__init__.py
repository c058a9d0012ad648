"""The release: a signed folder of synthetic data, generator, ledgers and privacy statement."""

from __future__ import annotations

from pathlib import Path

__all__ = ["build_release"]


def build_release(
    run_dir: Path, out: Path, *, seed: int | None = None, evidence: Path | None = None
) -> Path:
    """Builds, signs and verifies the release of a finished run; see `build.py`.

    Building draws samples and may need torch; it is imported here, so that `verify` can use the
    rest of this package without it.
    """
    from fedloom.privacy.release import build

    return build.build_release(run_dir, out, seed=seed, evidence=evidence)
