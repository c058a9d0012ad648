"""The evaluation of a release: does all of it follow from the opened sum and the public rows?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedloom.common.encoding import Encoding
from fedloom.common.errors import ReleaseError
from fedloom.common.scores import EvaluationQueries
from fedloom.common.strict_json import read_json
from fedloom.common.vocabulary import Stage
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.held_back import evaluation_record
from fedloom.privacy.plan import Plan
from fedloom.privacy.release.verify.stated import compare

__all__ = ["EVALUATION", "check_evaluation"]

EVALUATION = "evaluation.json"


def check_evaluation(folder: Path, plan: Plan, opened: Mapping[int, OpenedRound]) -> str:
    """Writes `evaluation.json` again, from the opened sum and its counts of synthetic rows.

    Args:
      folder: the release.
      plan: what was carried out.
      opened: the release's opened rounds, checked.

    Returns:
      What was found, for people.

    Raises:
      ReleaseError: something in it is another, or the plan asks for none.
      ConfigError: the file does not fit the schema.
    """
    path = folder / EVALUATION
    if plan.evaluation is None:
        if path.exists():
            raise ReleaseError(f"{EVALUATION} is there, but the plan holds no unit back")
        return "the plan holds no unit back"
    answers = [
        opened[asked.round]
        for asked in plan.rounds
        if asked.phase.stage is Stage.EVALUATION and asked.round in opened
    ]
    if not answers:
        raise ReleaseError(f"no opened sum is here that {EVALUATION} could be made from")
    record = read_json(path)
    made = evaluation_record(
        plan.encoding,
        answers[0].request_arrays,
        answers[0].values(),
        answers[0].stds,
        _synthetic(record, plan.encoding),
        hold_back=plan.evaluation.hold_back,
    )
    compare(record, made, EVALUATION)
    return "all of it follows from its opened sum and its counts of synthetic rows"


def _synthetic(record: Any, encoding: Encoding) -> np.ndarray[Any, np.dtype[Any]]:
    """Returns the counts of synthetic rows that a record states."""
    measured = EvaluationQueries(encoding)
    try:
        counts = {
            histogram.name: np.asarray(record["synthetic"][histogram.name], dtype=np.int64)
            for histogram in measured.histograms
        }
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ReleaseError(f"{EVALUATION} lacks its counts of synthetic rows") from error
    return measured.join({name: part.reshape(-1) for name, part in counts.items()})
