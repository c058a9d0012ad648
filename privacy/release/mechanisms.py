"""The mechanisms of a plan, as a privacy statement lists them."""

from __future__ import annotations

from typing import Any

from fedloom.privacy.plan import Plan

__all__ = ["mechanisms_of"]

_SUMS = {
    "oneway": "counts of every code within every class",
    "pairwise": "counts of every pair of codes, on cells joined into groups, within every class",
    "scores": "binned scores of held-back units, by class",
    "marginals": "counts of held-back units in the cells of each column",
}


def mechanisms_of(plan: Plan) -> list[dict[str, Any]]:
    """Lists what the plan's rounds release, with noise and sensitivity.

    `noise_std` is the standard deviation that the study's epsilon counts on in one sum: that of a
    site's own answer in local trust, that of the honest sites' shares together in a secure sum.
    """
    where = "each-site" if plan.colluding is None else "sum-in-shares"
    mechanisms = [
        _gaussian("statistic", where, str(settings["kind"]), settings)
        | {"rounds": 1, "spare_rounds": int(plan.statistics["spare_rounds"])}
        for settings in plan.statistics["rounds"]
    ]
    training = plan.training
    if training is not None:
        mechanisms.append(_training(training, where))
    evaluation = plan.evaluation
    for histogram in [] if evaluation is None else evaluation["histograms"]:
        name = str(histogram["name"])
        mechanisms.append(
            _gaussian("evaluate", where, name, histogram) | {"rounds": 1, "spare_rounds": 0}
        )
    return mechanisms


def _gaussian(query: str, where: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "query": query,
        "mechanism": "gaussian",
        "where": where,
        "releases": name,
        "text": f"a noisy sum: {_SUMS.get(name, name)}",
        "l2_sensitivity": float(settings["l2_norm"]),
        "noise_multiplier": float(settings["noise_multiplier"]),
        "noise_std": float(settings["noise_multiplier"]) * float(settings["l2_norm"]),
        "lattice_unit": float(settings["lattice_unit"]),
    }


def _training(training: dict[str, Any], where: str) -> dict[str, Any]:
    query = str(training["query"])
    listed: dict[str, Any] = {
        "query": query,
        "mechanism": "poisson-subsampled-gaussian",
        "where": where,
        "releases": "weights" if query == "train" else "gradients",
        "text": "weights after local steps (DP-SGD)"
        if query == "train"
        else "a noisy sum of clipped gradients (DP-SGD)",
        "sampler": "poisson",
        "sample_rate": float(training["sample_rate"]),
        "noise_multiplier": float(training["noise_multiplier"]),
        "max_grad_norm": float(training["max_grad_norm"]),
        "rounds": int(training["num_rounds"]),
        "spare_rounds": int(training["spare_rounds"]),
        "steps_per_round": int(training["local_steps"]),
        "steps": int(training["num_rounds"]) * int(training["local_steps"]),
    }
    if "lattice_unit" in training:
        listed["lattice_unit"] = float(training["lattice_unit"])
    return listed
