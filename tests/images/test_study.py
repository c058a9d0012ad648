"""A study of images from sites' files to a verified release and back."""

from __future__ import annotations

import json
import re
import shutil
import stat
from contextlib import nullcontext

import numpy as np
import pytest

import fedloom
from fedloom.cli.main import main
from fedloom.client.sources.images import load_images
from fedloom.common.artifact import Artifact
from fedloom.common.errors import ConfigError, ReleaseError, SchemaError, StudyError
from fedloom.common.study import load_study
from fedloom.privacy.keys import load_private_key
from fedloom.privacy.release.image_files import IMAGES
from fedloom.privacy.resolve import resolve_plan
from tests.federation import cli
from tests.images.conftest import AGE, SCHEMA, SITES
from tests.tampering import sign_again


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    """The digits at four sites by a secure sum, with an age that goes with the digit."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "schema.toml").write_text(SCHEMA + AGE)
    sites = "".join(f'[[site]]\nname = "{site}"\n' for site in SITES)
    (folder / "study.toml").write_text(
        '[study]\nname = "digits"\nschema = "schema.toml"\ntarget = "digit"\n'
        '[privacy]\nepsilon = 30.0\ndelta = 1e-5\ntrust = "secure-sum"\n'
        f'[model]\nkind = "image-mixture"\n{sites}'
    )
    rng = np.random.default_rng(0)
    parts = np.array_split(rng.permutation(len(digits["digit"])), len(SITES))
    tables = {}
    for site, rows in zip(SITES, parts, strict=True):
        label = digits["digit"][rows]
        age = label.astype(int) * 10 + rng.integers(0, 5, len(rows))
        tables[site] = folder / f"{site}.npz"
        np.savez(tables[site], image=digits["image"][rows], digit=label, age=age)
    return fedloom.simulate(folder / "study.toml", tables, out=folder / "run")


@pytest.fixture(scope="module")
def release(run, tmp_path_factory):
    return run.release(tmp_path_factory.mktemp("release") / "release")


def nearest_mean(images, labels, others):
    flat = np.stack([image.reshape(-1).astype(float) for image in images])
    means = np.stack([flat[labels == str(digit)].mean(axis=0) for digit in range(10)])
    rest = others.reshape(len(others), -1).astype(float)
    return ((rest[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)


def test_synthetic_images_look_like_their_class(run, digits):
    """Class means of synthetic images tell real digits apart nearly as well as real ones (.90)."""
    drawn = run.sample(2000, seed=3)
    labels = drawn["digit"].astype(str).to_numpy()
    told = nearest_mean(drawn["image"], labels, digits["image"])
    assert (told == digits["digit"].astype(int)).mean() > 0.7


def test_columns_go_with_the_class(run):
    drawn = run.sample(1000, seed=3, where={"digit": "7"})
    assert (drawn["digit"] == "7").all()
    assert (drawn["age"].between(60, 85)).mean() > 0.7


def test_the_budget_is_spent_once_in_seven_sums(run):
    assert run.epsilon <= 30.0
    assert [phase.statistic for phase in run.plan.statistics] == [
        "image-columns",
        "image-look",
        "image-means",
        "image-spread",
        "image-class-spread",
        "image-group-means",
        "image-group-spread",
    ]


def test_a_release_holds_as_many_images_as_rows_and_verifies(run, release):
    opened = fedloom.Release(release)
    opened.verify()
    assert np.stack(list(opened.data["image"])).shape == (len(opened.data), 8, 8, 1)
    assert 1500 < len(opened.data) < 2100
    again = opened.sample(10, seed=1)
    assert again["image"][0].shape == (8, 8, 1)


def test_the_readme_of_a_release_names_the_file_of_images(release):
    assert f"| `{IMAGES}` |" in (release / "README.md").read_text()


def test_refitting_gives_the_generator_again_with_its_bends(release):
    fedloom.Release(release).verify(refit=True)
    assert Artifact.load(release / "generator").arrays["bends"].any()


def test_the_report_shows_a_sheet_of_each_class_and_fetches_nothing(release):
    page = (release / "report.html").read_text()
    assert len(re.findall(r'<img src="data:image/png;base64,', page)) == 10
    assert "img-src data:" in page and "http" not in page.split("</style>")[1].split("<svg")[0]


@pytest.mark.parametrize("change", ["pixel", "more", "other shape"])
def test_images_that_were_changed_and_signed_again_are_found(run, release, tmp_path, change):
    path = tmp_path / "release"
    shutil.copytree(release, path)
    tamper(path / IMAGES, change)
    sign_again(path, load_private_key(run.path / "coordinator.key"))
    with pytest.raises(ReleaseError, match="image|row"):
        fedloom.verify(path)


def tamper(path, change):
    data = bytearray(path.read_bytes())
    if change == "pixel":
        data[-1] ^= 1
    elif change == "more":
        data += b"hidden"
    else:
        data = bytearray(bytes(data).replace(b"8, 8, 1)", b"8, 4, 2)", 1))
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["more.npz", "more"])
def test_samples_are_written_in_a_form_that_a_site_can_keep(run, tmp_path, name):
    options = ["--rows", "30", "--seed", "4", "--out", str(tmp_path / name)]
    assert main(["sample", str(run.path), *options]) == 0
    frame = load_images(tmp_path / name, run.plan.schema)
    drawn = run.sample(30, seed=4)
    np.testing.assert_array_equal(np.stack(list(frame["image"])), np.stack(list(drawn["image"])))
    assert frame["digit"].tolist() == drawn["digit"].tolist()
    assert [int(age) for age in frame["age"]] == drawn["age"].tolist()


def test_a_sample_of_images_as_csv_is_refused(run, tmp_path):
    options = ["--rows", "3", "--out", str(tmp_path / "more.csv")]
    assert main(["sample", str(run.path), *options]) == ConfigError("").exit_code


def test_persons_with_several_images_are_capped(tmp_path, digits, study_at):
    privacy = 'unit = "person"\nid = "who"\nrows_per_person = 2\n'
    tables = {}
    for number, site in enumerate(SITES):
        rows = np.arange(number, 400, 4)
        tables[site] = tmp_path / f"{site}.npz"
        np.savez(
            tables[site],
            image=digits["image"][rows],
            digit=digits["digit"][rows],
            who=rows // 12,
        )
    run = fedloom.simulate(study_at(tmp_path, privacy=privacy), tables, out=tmp_path / "run")
    phases = run.plan.statistics
    assert all(phase.l2_norm == 2 * (1 << 26) for phase in phases[1:])
    assert len(run.sample(5, seed=1)) == 5


def resolved(path):
    study, schema = load_study(path)
    return resolve_plan(study, schema, version="0.1.0")


@pytest.mark.parametrize("classes, fits", [(500, True), (700, False)])
def test_classes_whose_sums_do_not_fit_the_memory_are_refused(tmp_path, study_at, classes, fits):
    named = ", ".join(f'"{number}"' for number in range(classes))
    schema = SCHEMA.replace("width = 8", "width = 64").replace("height = 8", "height = 64")
    head, _ = schema.split("values = ")
    path = study_at(tmp_path, schema=f"{head}values = [{named}]\n")
    with nullcontext() if fits else pytest.raises(StudyError, match="GB.*classes.*fewer"):
        resolved(path)


def test_a_table_model_on_images_and_images_without_a_section_are_refused(tmp_path, study_at):
    path = study_at(tmp_path)
    resolved(path)
    path.write_text(path.read_text().replace("image-mixture", "mixture"))
    with pytest.raises(StudyError):
        resolved(path)
    with pytest.raises(StudyError):
        resolved(study_at(tmp_path, schema=SCHEMA[SCHEMA.index("[[column]]") :]))
    with pytest.raises(StudyError):
        resolved(study_at(tmp_path, more='[statistics]\nkind = "pairwise"\n'))


def test_what_a_steward_reads_names_images(run):
    from fedloom.client.columns_in_words import columns_in_words

    assert any("image" in line for line in columns_in_words(run.plan))


def test_statement_and_plan_name_each_sum_with_its_noise(release):
    statement = json.loads((release / "dp_statement.json").read_text())
    assert len(statement["mechanisms"]) == 7
    assert all(entry["noise_multiplier"] > 0 for entry in statement["mechanisms"])


def test_images_without_any_column_are_refused_before_anything_is_asked(tmp_path):
    (tmp_path / "schema.toml").write_text(SCHEMA.split("[[column]]")[0])
    path = tmp_path / "study.toml"
    path.write_text(
        '[study]\nname = "digits"\nschema = "schema.toml"\n[privacy]\nepsilon = 1.0\ndelta = 1e-5\n'
        '[[site]]\nname = "east"\n[[site]]\nname = "west"\n'
    )
    study, schema = load_study(path)
    with pytest.raises(SchemaError, match="column"):
        resolve_plan(study, schema, version=fedloom.__version__)


def test_a_steward_gets_a_picture_of_the_nearest_pairs(release, digits, tmp_path):
    home, records, pairs = tmp_path / "home", tmp_path / "records.npz", tmp_path / "pairs.png"
    own = {"image": digits["image"][:300], "digit": digits["digit"][:300]}
    np.savez(records, **own, age=own["digit"].astype(int) * 10)
    limits = ("--epsilon", "8", "--delta", "1e-5", "--data", str(records))
    assert cli("site", "init", "--home", home, "--name", "north", *limits).code == 0
    found = cli("site", "nearest", release, "--home", home, "--pairs", pairs, "--json")
    assert found.code == 0, found.err
    assert found.json["among"] == 299 and not found.json["suspicious"]
    assert pairs.read_bytes().startswith(b"\x89PNG")
    assert stat.S_IMODE(pairs.stat().st_mode) == 0o600
