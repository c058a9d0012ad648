"""Answers of made-up sites to every round of a plan, and the numbers that follow from answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedloom.common.artifact import Artifact
from fedloom.common.marginals import NoisyMarginals, OneWayMarginals, TwoWayMarginals
from fedloom.common.messages import Answer, AnswerHeader, Request, arrays_digest
from fedloom.common.sampling.decoder import decoder_shapes
from fedloom.common.scores import EvaluationQueries
from fedloom.common.signed_heads import SeenHead
from fedloom.common.statistic_kinds import statistic_kind
from fedloom.common.vocabulary import Status
from fedloom.privacy.answers.opened import OpenedRound
from fedloom.privacy.answers.opened_marginals import noisy_statistics
from fedloom.privacy.keys import PrivateKey, sign
from fedloom.privacy.mechanisms.noisy_sum import noisy_sum
from fedloom.privacy.noise import NoiseSource
from fedloom.privacy.plan import Plan, RoundQuery
from fedloom.server.evaluation import evaluation_request, evaluation_result
from fedloom.server.kept_answers import Attempts, KeptAnswers
from tests.known_genesis import genesis_head

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass
class MadeAnswers:
    """What the sites of a plan answered.

    Attributes:
      requests: by round.
      parts: by round and site, signed; masked in a secure sum.
      opened: the rounds whose sums a release holds.
      generator: made from the statistics.
    """

    requests: dict[int, Request] = field(default_factory=dict)
    parts: dict[int, dict[str, Answer]] = field(default_factory=dict)
    opened: dict[int, OpenedRound] = field(default_factory=dict)
    generator: Artifact | None = None

    def save(self, folder: Path, plan: Plan) -> None:
        """Keeps them as a coordinator does."""
        kept = KeptAnswers(folder, plan)
        for number, parts in self.parts.items():
            asked = self.requests[number]
            rosters = (*asked.void, asked.roster)
            attempts = Attempts(round=number, rosters=rosters, heads=asked.heads)
            kept.keep_parts(number, attempts, parts)
        for opened in self.opened.values():
            kept.keep_opened(opened)


def answer_header(site: str, **changes: Any) -> AnswerHeader:
    """Returns the header of an answer without arrays, with `changes`."""
    values = {
        "site": site,
        "status": Status.OK,
        "request_digest": "d" * 64,
        "nonce": "00" * 16,
        "head": SeenHead(epoch=0, seq=3, hash="c" * 64),
        "arrays_digest": arrays_digest({}),
    }
    return AnswerHeader(**{**values, **changes})


def signed(key: PrivateKey, site: str, request_digest: str, arrays: Arrays) -> Answer:
    """Returns an answer as a vault signs it."""
    header = answer_header(site, request_digest=request_digest, arrays_digest=arrays_digest(arrays))
    answer = Answer(header=header, arrays=arrays)
    return Answer(header=header, arrays=arrays, signature=sign(key, answer.signed_bytes()))


def make_answers(
    plan: Plan,
    keys: Mapping[str, PrivateKey],
    frame: pd.DataFrame,
    held_back: pd.DataFrame,
    make_mixture: Callable[[NoisyMarginals], Artifact],
    *,
    run: str,
    insecure_seed: int,
) -> MadeAnswers:
    """Deals the records out to the sites and asks them every round of the plan.

    Groups of pairs join two neighbouring cells. Sums and noise are the mechanism's own; masks are
    words of 64 bits that cancel over all sites, and answers to other queries are made up.
    """
    made = MadeAnswers()
    for asked in plan.rounds:
        rng = np.random.default_rng([insecure_seed, asked.round])
        request = _request(plan, keys, asked, made, run)
        shares = {
            site: _answer(plan, asked, request, frame, held_back, place, len(keys), rng)
            for place, site in enumerate(sorted(keys))
        }
        if plan.colluding is not None:
            _mask(shares, rng)
        parts = {
            site: signed(keys[site], site, request.digest(), arrays)
            for site, arrays in shares.items()
        }
        made.requests[asked.round], made.parts[asked.round] = request, parts
        if asked.published:
            made.opened[asked.round] = OpenedRound.open(plan, asked, request, parts)
        looks = [one for one in made.opened.values() if one.query == "statistic"]
        if asked.query == "statistic":
            made.generator = (
                make_mixture(noisy_statistics(plan, looks))
                if plan.model.kind == "mixture"
                else make_decoder(plan)
            )
    return made


def _request(
    plan: Plan, keys: Mapping[str, PrivateKey], asked: RoundQuery, made: MadeAnswers, run: str
) -> Request:
    arrays: Arrays = {}
    if asked.phase.name == "pairwise":
        blocks = plan.encoding.features
        groups = np.concatenate([np.arange(block.size) // 2 for block in blocks])
        arrays = {"groups": groups.astype(np.int32)}
    elif asked.query == "evaluate":
        assert made.generator is not None
        arrays = evaluation_request(made.generator, EvaluationQueries(plan.encoding), seed=3)
    return Request(
        query=asked.query,
        study=plan.study_digest,
        plan=plan.digest(),
        run=run,
        round=asked.round,
        params=asked.params,
        roster=tuple(sorted(site.name for site in plan.sites)),
        arrays=arrays,
        masked=plan.colluding is not None,
        heads={name: genesis_head(key, name, plan.digest(), run) for name, key in keys.items()}
        if plan.colluding is not None
        else {},
    )


def _answer(
    plan: Plan,
    asked: RoundQuery,
    request: Request,
    frame: pd.DataFrame,
    held_back: pd.DataFrame,
    place: int,
    num_sites: int,
    rng: np.random.Generator,
) -> Arrays:
    if not asked.published:
        return {"w": rng.normal(size=3).astype(np.float32)}
    encoding = plan.encoding
    table = frame if asked.query == "statistic" else held_back
    codes = encoding.encode(table.iloc[place::num_sites]).codes
    records = encoding.feature_codes(codes), encoding.classes(codes)
    if asked.query == "statistic":
        measured = statistic_kind(asked.phase.name).of(encoding, request.arrays)
        sums = {asked.phase.name: measured.sum(*records)}
    else:
        sums = EvaluationQueries(encoding).sums(*records, request.arrays)
    noise = NoiseSource.from_insecure_seed(int(rng.integers(2**53)))
    shares = 1 if plan.colluding is None else num_sites - plan.colluding
    noised = [
        noisy_sum(
            sums[part.name],
            l2_norm=part.l2_norm,
            noise_multiplier=asked.phase.noise_multiplier,
            noise=noise,
            grid_step=part.grid_step,
            num_shares=shares,
        )
        for part in asked.phase.sum_parts(measured.length if asked.query == "statistic" else 0)
    ]
    return {"sum": np.concatenate(noised)}


def _mask(shares: Mapping[str, Arrays], rng: np.random.Generator) -> None:
    names = sorted(shares)
    for one, other in zip(names, names[1:], strict=False):
        words = rng.integers(0, 2**64, len(shares[one]["sum"]), dtype=np.uint64)
        shares[one]["sum"].view(np.uint64)[:] += words
        shares[other]["sum"].view(np.uint64)[:] -= words


def sum_spread(plan: Plan) -> float:
    """Standard deviation of the noise in a sum over all sites, in units of the plan's."""
    sites = len(plan.sites)
    return math.sqrt(sites if plan.colluding is None else sites / (sites - plan.colluding))


def make_statistics(plan: Plan, frame: pd.DataFrame, *, insecure_seed: int) -> NoisyMarginals:
    """Returns the noisy sums that the plan's sites would give for a table."""
    encoding = plan.encoding
    codes = encoding.encode(frame).codes
    groups = np.concatenate([np.arange(block.size) // 2 for block in encoding.features])
    rng = np.random.default_rng(insecure_seed)
    noisy, stds = [], []
    for phase in plan.statistics:
        pairs = phase.statistic == "pairwise"
        measured = (
            TwoWayMarginals(encoding, groups.astype(np.int32))
            if pairs
            else OneWayMarginals(encoding)
        )
        std = phase.noise_std * sum_spread(plan)
        exact = measured.sum(encoding.feature_codes(codes), encoding.classes(codes))
        noisy.append(exact + rng.normal(0.0, std, measured.length))
        stds.append(std)
    paired = len(noisy) > 1
    return NoisyMarginals(
        encoding=encoding,
        look=noisy[0],
        look_std=stds[0],
        groups=groups.astype(np.int32) if paired else None,
        pairs=noisy[1] if paired else None,
        pair_std=stds[1] if paired else None,
        site_totals={},
    )


def make_evaluation(
    plan: Plan, generator: Artifact, frame: pd.DataFrame, *, insecure_seed: int
) -> dict[str, Any]:
    """Returns what a coordinator keeps of an evaluation on a held-back table."""
    encoding = plan.encoding
    measured = EvaluationQueries(encoding)
    arrays = evaluation_request(generator, measured, seed=3)
    codes = encoding.encode(frame).codes
    sums = measured.sums(encoding.feature_codes(codes), encoding.classes(codes), arrays)
    assert plan.evaluation is not None
    stds = [
        plan.evaluation.noise_multiplier * h.l2_norm * sum_spread(plan)
        for h in plan.evaluation.histograms
    ]
    rng = np.random.default_rng(insecure_seed)
    noise = [
        rng.normal(0.0, std, len(sums[h.name]))
        for std, h in zip(stds, measured.histograms, strict=True)
    ]
    return evaluation_result(
        generator,
        measured,
        arrays,
        measured.join(sums) + np.concatenate(noise),
        stds,
        hold_back=plan.evaluation.hold_back,
        seed=3,
    )


def make_generator(statistics: NoisyMarginals) -> Artifact:
    """Returns a mixture of one component a class: the noisy one-way marginals."""
    encoding = statistics.encoding
    probabilities = np.zeros((encoding.num_classes, 1, encoding.width))
    for label in range(encoding.num_classes):
        for block, counts in zip(encoding.features, statistics.one_way(label), strict=True):
            kept = np.maximum(counts, 0.0) * np.array(block.sampleable)
            span = slice(block.start, block.start + block.size)
            probabilities[label, 0, span] = kept / max(kept.sum(), 1e-12)
    prior = statistics.class_counts() * np.array(encoding.class_sampleable)
    return Artifact(
        kind="mixture",
        config={"components": 1},
        arrays={"probabilities": probabilities, "class_prior": prior / prior.sum()},
    )


def make_decoder(plan: Plan, *, insecure_seed: int = 3) -> Artifact:
    """Returns a `vae` or `gan` of the plan's sizes, with weights that nobody trained."""
    encoding, model = plan.encoding, plan.model
    rng = np.random.default_rng(insecure_seed)
    config = {name: model.to_dict()[name] for name in ("hidden", "latent")}
    shapes = decoder_shapes(config, encoding)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    prior = np.array(encoding.class_sampleable, dtype=np.float64)
    arrays["class_prior"] = prior / prior.sum()
    return Artifact(kind=model.kind, config=config, arrays=arrays)
