"""Which fedloom runs a plan: the minor version that resolved it, and no other.

What a plan leaves to the software (defaults, bounds, how a sum is made) may change between minor
versions, and stewards approved what it meant when it was made. A patch (the third number) changes
nothing of that, so sites may have different ones.
"""

from __future__ import annotations

from fedloom.common import version
from fedloom.common.errors import OtherVersionError

__all__ = ["check_version", "minor"]


def minor(whole: str) -> str:
    """Returns major and minor number of a version.

    >>> minor("0.1.7")
    '0.1'
    """
    return ".".join(whole.split(".")[:2])


def check_version(named: str, what: str = "the plan") -> None:
    """Holds the minor version that resolved a plan against this one.

    Args:
      named: major and minor version in the plan.
      what: the plan, for the message.

    Raises:
      OtherVersionError: another minor version; says both, and what to do.
    """
    here = minor(version.VERSION)
    if named != here:
        raise OtherVersionError(
            f"{what} was resolved by fedloom {named[:20]}, and this is fedloom {version.VERSION}; "
            "only the minor version that resolved a plan runs it. Either install fedloom "
            f"{named[:20]} until its run is over, or have the coordinator resolve the study again "
            f"with fedloom {here} and approve the new plan"
        )
