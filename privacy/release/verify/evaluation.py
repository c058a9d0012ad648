"""The evaluation of a release: do its figures follow from its histograms, is the noise there?"""

from __future__ import annotations

from pathlib import Path

from fedloom.common.errors import ReleaseError
from fedloom.common.strict_json import read_json
from fedloom.privacy.evaluation.held_back import EVALUATION_KEYS, figures_of
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.verify.comparison import BELOW, compare

__all__ = ["EVALUATION", "check_evaluation"]

EVALUATION = "evaluation.json"


def check_evaluation(folder: Path, plan: Plan) -> str:
    """Computes the figures of `evaluation.json` again.

    The noisy histograms themselves are the coordinator's word: sites sign their answers to it,
    and their ledgers hold a hash, but in a secure sum no hash of the opened sum.

    Args:
      folder: the release.
      plan: what was carried out.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: a figure is another, the plan asks for none or for another, or the stated
        noise is less than the plan's.
      ConfigError: the file does not fit the schema.
    """
    path = folder / EVALUATION
    if plan.evaluation is None:
        if path.exists():
            raise ReleaseError(f"{EVALUATION} is there, but the plan holds no unit back")
        return "the plan holds no unit back"
    record = read_json(path)
    if not isinstance(record, dict) or set(record) != EVALUATION_KEYS:
        raise ReleaseError(f"{EVALUATION} is no evaluation")
    compare(record.get("figures"), figures_of(record, plan.encoding), EVALUATION)
    if record.get("hold_back") != plan.evaluation["hold_back"]:
        raise ReleaseError(f"{EVALUATION} names another chance than the plan")
    for histogram in plan.evaluation["histograms"]:
        planned = histogram["l2_norm"] * histogram["noise_multiplier"]
        if record["noise_std"][histogram["name"]] < planned * (1 - BELOW):
            raise ReleaseError(f"{EVALUATION} states less noise than the plan adds")
    return "its figures follow from its noisy histograms; these are as signed and not checked"
