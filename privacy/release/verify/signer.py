"""Who signed a release: the key that the reader knows, or one that it leads to; and whose it is.

The manifest may show how the publisher's keys have handed on one to the next; that these hold was
checked when it was read (`fedloom.privacy.handover`). A later key than the reader's is as good, for
the reader's has signed for it. An earlier one is accepted too, because a publisher who changes keys
does not sign old releases again, and it is told: whoever stole it could have signed as well.
"""

from __future__ import annotations

from fedloom.privacy.handover import chained_keys
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.manifest import MANIFEST, Manifest, Signer
from fedloom.privacy.release.verify.result import CheckFailed

__all__ = ["check_publisher", "check_signer"]


def check_signer(signer: Signer, key: str) -> str:
    """Holds the key that signed against the one that the reader knows.

    Args:
      signer: as the manifest names it.
      key: the publisher's, from elsewhere.

    Raises:
      CheckFailed: they are two, and no key that signed leads from one to the other.
    """
    if key == signer.public_key:
        return "signed by the key that you gave"
    chain = chained_keys(signer.handovers)
    if key not in chain:
        raise CheckFailed(
            f"signed by another key, {signer.public_key}; do not trust this release",
            file=MANIFEST,
            remedy="ask the publisher for the key and the release again, by two ways",
        )
    if chain.index(key) < chain.index(signer.public_key):
        return "signed by a later key of the publisher's, which the key that you gave handed on to"
    until = signer.handovers[chain.index(signer.public_key)].day
    return (
        "signed by an earlier key of the publisher's, which has handed on to the one that you gave "
        f"on {until}; if that key was ever stolen, ask the publisher whether this release is theirs"
    )


def check_publisher(manifest: Manifest, plan: Plan) -> str:
    """Whoever signs a release must be the coordinator whose plan the sites approved.

    Raises:
      CheckFailed: it is signed by another key than the plan's.
    """
    if manifest.signer.public_key != plan.coordinator_key:
        raise CheckFailed(
            "signed by a key that is not the coordinator's in the plan which the sites approved",
            file=MANIFEST,
            remedy="ask the coordinator of the study for the release that it signed",
        )
    return "signed by the coordinator whose plan the sites approved"
