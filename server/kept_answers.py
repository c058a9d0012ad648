"""What the sites answered, kept beside the run: opened sums, and every site's own signed part.

    answers/round-0001.safetensors             the opened sum of a `statistic` or `evaluate` round
    answers/parts/round-0001/NAME.safetensors  a site's signed answer, masked in a secure sum
    answers/parts/round-0001/asked.json        of whom it was asked, with which heads of ledgers

An opened sum goes into the release as it lies here, and parts are the evidence for it
(`fedloom release build --evidence`). Parts of an attempt that did not open are not kept. All of
it is of mode 0600 and stays when the run is done: the sites erase their copies then, so what is
deleted here cannot be had again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from fedloom.common.errors import IncompleteError, ReleaseError
from fedloom.common.files import replacing, write_whole
from fedloom.common.messages import Answer
from fedloom.common.signed_heads import SignedHead
from fedloom.common.typed import Section
from fedloom.privacy.answers.files import PARTS, part_path, read_part
from fedloom.privacy.answers.opened import OpenedRound, answer_path
from fedloom.privacy.plan import Plan

__all__ = ["Attempts", "KeptAnswers"]

_ASKED = "asked.json"


class Attempts(Section, frozen=True):
    """The attempts at one round so far.

    Attributes:
      round: of the plan.
      rosters: of each attempt, sorted.
      heads: of the last attempt, the promises that its request named.
    """

    round: int
    rosters: tuple[tuple[str, ...], ...]
    heads: dict[str, SignedHead]


class KeptAnswers:
    """The answers of one run."""

    def __init__(self, run_dir: Path, plan: Plan) -> None:
        """Names the folder; nothing is read yet."""
        self._run_dir = run_dir
        self._plan = plan

    def keep_parts(
        self, round_number: int, attempts: Attempts, answers: Mapping[str, Answer]
    ) -> None:
        """Keeps the answers of all sites in a round's sum, all of them or none.

        Args:
          round_number: of the plan.
          attempts: of whom the round was asked; the last is the one that was answered.
          answers: by site.
        """
        folder = self._folder(round_number)
        for made in (self._run_dir / "answers", self._run_dir / PARTS):
            made.mkdir(mode=0o700, exist_ok=True)
        with replacing(folder) as partial:
            partial.mkdir(mode=0o700)
            for site, answer in answers.items():
                write_whole(partial / f"{site}.safetensors", answer.pack(), private=True)
            write_whole(partial / _ASKED, msgspec.json.encode(attempts), private=True)
            shutil.rmtree(folder, ignore_errors=True)

    def attempts(self, round_number: int) -> Attempts | None:
        """Returns of whom a round was asked whose answers are kept.

        Raises:
          IncompleteError: it cannot be read.
        """
        path = self._folder(round_number) / _ASKED
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Attempts)
        except (OSError, msgspec.DecodeError) as error:
            raise IncompleteError(
                f"{path} cannot be read ({error}); restore the run folder from a backup"
            ) from error

    def parts(self, round_number: int, request_digest: str) -> dict[str, Answer] | None:
        """Returns the answers that a round's sum was opened from, if they are to this request.

        Args:
          round_number: of the plan.
          request_digest: of the request that would be sent now.

        Raises:
          IncompleteError: one of them cannot be read.
        """
        folder = self._folder(round_number)
        if not folder.is_dir():
            return None
        try:
            parts = {
                path.stem: read_part(path, site=path.stem, key=self._plan.site(path.stem).key)
                for path in sorted(folder.glob("*.safetensors"))
            }
        except ReleaseError as error:
            raise IncompleteError(
                f"{folder}: a kept answer cannot be used ({error}); restore the run folder from "
                "a backup, or delete this folder: the sites send what they answered again, free "
                "of charge, as long as the run is not finished there"
            ) from error
        if {part.header.request_digest for part in parts.values()} != {request_digest}:
            return None
        return parts

    def keep_opened(self, opened: OpenedRound) -> None:
        """Keeps an opened sum."""
        write_whole(self._run_dir / answer_path(opened.round), opened.pack(), private=True)

    def opened(self, round_number: int) -> OpenedRound | None:
        """Reads the opened sum of a round, if there is one."""
        path = self._run_dir / answer_path(round_number)
        return OpenedRound.load(path) if path.exists() else None

    def _folder(self, round_number: int) -> Path:
        return part_path(self._run_dir / PARTS, round_number, "-").parent
