"""Where the files that travel with fedloom lie: the example, the report template, the bundle."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resource_path"]


def resource_path(relative: str) -> Path:
    """Returns the path of a file or folder that is shipped with fedloom.

    Args:
      relative: path below the repository's root, such as `examples/rand`; in the wheel the same
        path lies below the package.

    Raises:
      FileNotFoundError: the installation lacks it.
    """
    import fedloom

    for root in fedloom.__path__:
        candidate = Path(root) / relative
        if candidate.exists():
            return candidate
    raise FileNotFoundError(f"{relative} is not part of this installation; reinstall fedloom")
