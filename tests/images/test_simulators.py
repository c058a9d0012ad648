"""The example of a simulator and an embedding, as packages that a study's parties install.

An installed package is what `importlib.metadata` finds on the path: the code, and beside it a
folder that names distribution, version and entry points. So no test needs a network.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fedloom
from fedloom.cli.site_preflight import findings
from fedloom.client.plan_in_words import in_plain_words
from fedloom.client.request_check import check_parts_are_here
from fedloom.common.errors import ConfigError, IncompleteError, StudyError
from fedloom.common.images import embedding
from fedloom.common.images.embedding import Embedded, check_embedding, embedding_of, weights_of
from fedloom.common.images.shape import ImageShape
from fedloom.common.study import load_study
from fedloom.privacy.resolve import resolve_plan
from fedloom.server.images.simulators import check_coordinator, simulated
from tests.images.conftest import digits_run
from tests.stewards import init

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "simulators"
VOTES = (
    '[model.votes]\ncandidates = 8\nshare = 0.2\nsimulator = "drawn-digits"\n'
    'features = "random-patches"\n'
)


def install(
    folder: Path, *, version: str | None = None, change: tuple[str, str] = ("", "")
) -> None:
    """Puts the example into a folder as an installer would, and names it as its pyproject does."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name = "fedloom_drawn_digits"
    shutil.copytree(EXAMPLE / name, folder / name, dirs_exist_ok=True)
    patches = folder / name / "patches.py"
    patches.write_text(patches.read_text().replace(*change))
    for old in folder.glob("*.dist-info"):
        shutil.rmtree(old)
    version = version or project["version"]
    told = folder / f"{name}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    )
    groups = project["entry-points"].items()
    (told / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in groups
        )
    )
    forget()


def forget() -> None:
    """Lets the next import read the files again."""
    for name in [name for name in sys.modules if name.startswith("fedloom_drawn_digits")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    embedding_of.cache_clear()
    check_parts_are_here.cache_clear()


@pytest.fixture
def site_packages(tmp_path, monkeypatch):
    """An empty folder on the path, for packages."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    forget()


def resolved(path):
    study, schema = load_study(path)
    return resolve_plan(study, schema, version=fedloom.__version__)


def test_a_study_votes_for_drawn_digits_by_an_embedding(site_packages, tmp_path, digits):
    install(site_packages)
    folder = tmp_path / "study"
    folder.mkdir()
    run = digits_run(folder, digits, rows=300, more=VOTES)
    votes = run.plan.model.votes
    assert votes.simulator_from == "fedloom-drawn-digits 1.0.0"
    assert len(votes.weights) == 64
    words = "\n".join(in_plain_words(run.plan, site="east"))
    assert votes.weights in words and votes.simulator_from in words
    release = run.release(folder / "release")
    # Who verifies and refits needs neither package: candidates are in the answers.
    shutil.rmtree(site_packages)
    forget()
    fedloom.Release(release).verify(refit=True)
    assert "fedloom-drawn-digits 1.0.0" in (release / "DATASHEET.md").read_text()


def test_a_site_with_other_weights_refuses_before_it_reads_a_record(
    site_packages, tmp_path, study_at
):
    install(site_packages)
    plan = resolved(study_at(tmp_path, more=VOTES))
    check_parts_are_here(plan)
    install(
        site_packages,
        change=("_PARTS = 5,", "_PARTS = 6,"),
    )
    with pytest.raises(IncompleteError, match=plan.model.votes.weights):
        check_parts_are_here(plan)
    shutil.rmtree(site_packages)
    forget()
    with pytest.raises(IncompleteError, match="random-patches"):
        check_parts_are_here(plan)


@pytest.mark.parametrize(
    "change",
    [
        ("_PARTS = 5,", "_PARTS = 1 // 0,"),
        ("    dimensions = ", "    numbers = "),
        ("def weights(self)", "def weights(self, more)"),
    ],
)
def test_an_embedding_that_fails_is_an_error_that_names_its_package(
    site_packages, tmp_path, study_at, change
):
    install(site_packages, change=change)
    with pytest.raises(StudyError, match=r"fedloom-drawn-digits 1\.0\.0"):
        load_study(study_at(tmp_path, more=VOTES))


def test_weights_that_are_addresses_have_no_digest():
    class OfObjects:
        dimensions = 1

        def weights(self):
            return {"a": np.array([object()])}

        def features(self, image):
            return np.zeros(1)

    with pytest.raises(ConfigError):
        weights_of(OfObjects())


def test_a_simulator_that_fails_is_an_error_that_can_be_corrected():
    def simulator(label, count, pixels, seed):
        raise ValueError(label)

    with pytest.raises(ConfigError, match="seven"):
        simulated(simulator, "seven", 2, ImageShape(height=8, width=8, channels=1), 0)


def test_a_site_without_the_embedding_ends_a_run_before_anything_is_spent(
    site_packages, tmp_path, digits, monkeypatch
):
    install(site_packages)
    honest = fedloom.client.vault.check_parts_are_here

    def lost(plan):
        raise IncompleteError("the embedding is not installed here")

    assert honest is check_parts_are_here
    monkeypatch.setattr("fedloom.client.vault.check_parts_are_here", lost)
    with pytest.raises(IncompleteError, match="nothing was spent"):
        digits_run(tmp_path, digits, rows=100, more=VOTES)


def test_a_steward_reads_a_plan_without_the_embedding_and_cannot_approve_it(
    site_packages, tmp_path, digits, monkeypatch
):
    install(site_packages)

    def lost(plan):
        raise IncompleteError("the embedding is not installed here")

    monkeypatch.setattr("fedloom.client.approval.check_parts_are_here", lost)
    with pytest.raises(IncompleteError, match="not installed"):
        digits_run(tmp_path, digits, rows=100, more=VOTES)


def test_preflight_says_whether_the_embedding_is_there(site_packages, tmp_path, study_at):
    install(site_packages)
    plan = tmp_path / "plan.json"
    resolved(study_at(tmp_path, more=VOTES)).save(plan)
    home = init(tmp_path, "east")

    def packages():
        return next(one for one in findings(home, plan) if one.check == "packages")

    assert packages().passed
    shutil.rmtree(site_packages)
    forget()
    assert not packages().passed and "random-patches" in packages().detail


def test_features_that_depend_on_earlier_images_are_refused(site_packages):
    install(
        site_packages,
        change=(
            "        light = np.pad(",
            "        self._seen = getattr(self, '_seen', 0) + 1\n"
            "        image = np.roll(image, self._seen)\n        light = np.pad(",
        ),
    )
    weights = embedding.installed_weights("random-patches")
    with pytest.raises(ConfigError, match="image alone"):
        check_embedding("random-patches", weights, (8, 8, 1))


class Odd:
    """An embedding that fails in every way that features can."""

    dimensions = 3

    def weights(self):
        return {}

    def features(self, image):
        kind = int(image[0, 0, 0])
        if kind == 0:
            raise RuntimeError("an image that it cannot read")
        return {1: np.ones(2), 2: np.full(3, np.nan), 3: np.full(3, 1e30), 4: np.full(3, 0.1)}[kind]


def test_an_image_with_which_an_embedding_fails_has_features_all_the_same():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 1), np.uint8)
    found = Embedded(Odd()).of(images)
    np.testing.assert_array_equal(found[:3], 0.0)
    np.testing.assert_array_equal(found[3], 128.0)
    np.testing.assert_allclose(found[4], 0.1, atol=2.0**-13)


def test_the_digest_of_weights_tells_names_shapes_and_values_apart():
    class Weighted:
        def __init__(self, **arrays):
            self.arrays = arrays

        def weights(self):
            return self.arrays

    forms = [
        {"a": np.zeros(4)},
        {"b": np.zeros(4)},
        {"a": np.zeros((2, 2))},
        {"a": np.zeros(4, np.float32)},
        {"a": np.array([0.0, 0.0, 0.0, 1e-300])},
    ]
    found = [weights_of(Weighted(**form)) for form in forms]
    assert len(set(found)) == len(forms)
    both = {"a": np.ones(2), "b": np.ones(3)}
    again = dict(reversed(both.items()))
    assert weights_of(Weighted(**both)) == weights_of(Weighted(**again))


def test_a_coordinator_with_another_version_of_the_simulator_refuses_to_begin(
    site_packages, tmp_path, study_at
):
    install(site_packages)
    plan = resolved(study_at(tmp_path, more=VOTES))
    check_coordinator(plan.coder)
    install(site_packages, version="1.0.1")
    with pytest.raises(ConfigError, match="1.0.1"):
        check_coordinator(plan.coder)


def test_a_study_may_name_what_is_not_installed_where_it_is_read(site_packages, tmp_path, study_at):
    named = f'{VOTES}simulator_from = "fedloom-drawn-digits 1.0.0"\nweights = "{"ab" * 32}"\n'
    plan = resolved(study_at(tmp_path, more=named))
    assert plan.model.votes.weights == "ab" * 32
    with pytest.raises(StudyError, match="drawn-digits"):
        load_study(study_at(tmp_path, more=VOTES))


@pytest.mark.parametrize("name", ["strokes", "fonts"])
def test_simulators_draw_what_a_class_is_called(site_packages, name):
    install(site_packages)
    draw = importlib.import_module(f"fedloom_drawn_digits.{name}").draw
    first, again, other = (draw("7", 5, (16, 12, 3), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (5, 16, 12, 3) and first.dtype == np.uint8
    assert (first != other).any() and first.max() > 200 and first.mean() < 120
    assert draw("(missing)", 5, (16, 12, 3), 1) is None


def test_a_simulator_that_returns_anything_but_images_is_refused(schema):
    from fedloom.common.images.shape import ImageShape

    shape = ImageShape(height=8, width=8, channels=1)
    for made in (np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 1)), np.zeros(3, np.uint8)):
        with pytest.raises(ConfigError, match="simulator"):
            simulated(lambda *_, made=made: made, "1", 2, shape, 0)
