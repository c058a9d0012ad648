"""Homes and plans for the pages' tests, made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.federation import cli
from tests.stewards import Stewards, stewards

HOSTILE = "</p><script>document.title='taken'</script>"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stewards, Path]:
    """Homes of two stewards, and the plan of a study between them."""
    folder = tmp_path_factory.mktemp("web")
    these = stewards(folder, epsilon=1.0, limit=3.0)
    these.federation.edit('name = "tiny"', f"name = {json.dumps(HOSTILE)}")
    plan = folder / "plan.json"
    done = cli("study", "check", these.federation.study, "--out", plan)
    assert done.code == 0, done.err
    return these, plan


@pytest.fixture
def home(made: tuple[Stewards, Path], tmp_path: Path) -> Path:
    """A fresh home of north."""
    copied = tmp_path / "north"
    shutil.copytree(made[0].homes["north"], copied)
    return copied


@pytest.fixture
def plan_text(made: tuple[Stewards, Path]) -> str:
    """What the coordinator sent."""
    return made[1].read_text()
