"""Images completed and enlarged from a generator, against dense arithmetic and real digits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import fedloom
from fedloom.cli.main import main
from fedloom.common.errors import ConfigError
from fedloom.common.images.completion import Completion
from fedloom.common.images.factor_groups import FactorGroup, View, factor_group, posterior_of
from fedloom.common.npz import npz_bytes
from fedloom.common.run_files import RunFiles
from tests.images.conftest import SCHEMA, digits_run

WHOLE = View(seen=lambda flat: flat, noise=lambda rest: rest)


def group(rng: np.random.Generator, size: int = 12, rank: int = 3) -> FactorGroup:
    return FactorGroup(
        label=0,
        log_share=-1.0,
        mean=rng.random(size),
        directions=rng.normal(0, 0.3, (rank, size)),
        rest=rng.uniform(0.01, 0.05, size),
    )


def test_what_is_seen_tells_what_a_dense_covariance_tells() -> None:
    """The oracle conditions one Gaussian of all values, without factors."""
    rng = np.random.default_rng(1)
    one = group(rng)
    covariance = one.directions.T @ one.directions + np.diag(one.rest)
    levels = rng.random((5, 12))
    weights = (rng.random((5, 12)) < 0.5).astype(float)
    found = posterior_of(one, WHOLE, levels, weights)
    images = found.drawn(one, np.arange(5), None)
    for row in range(5):
        seen, hidden = np.flatnonzero(weights[row]), np.flatnonzero(weights[row] == 0)
        gain = covariance[np.ix_(hidden, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
        expected = one.mean[hidden] + gain @ (levels[row, seen] - one.mean[seen])
        np.testing.assert_allclose(images[row, hidden], expected, atol=1e-10)
        law = multivariate_normal(one.mean[seen], covariance[np.ix_(seen, seen)])
        density = law.logpdf(levels[row, seen]) + len(seen) / 2 * np.log(2 * np.pi)
        assert found.log_chance[row] == pytest.approx(-1.0 + density)


def test_draws_spread_as_the_posterior_does() -> None:
    rng = np.random.default_rng(2)
    one = group(rng)
    levels, weights = np.zeros((1, 12)), np.zeros((1, 12))
    weights[0, :4] = 1.0
    found = posterior_of(one, WHOLE, levels.repeat(20_000, 0), weights.repeat(20_000, 0))
    draws = found.drawn(one, np.arange(20_000), rng)
    precision = np.eye(3) + (one.directions[:, :4] / one.rest[:4]) @ one.directions[:, :4].T
    factors = one.directions.T @ np.linalg.inv(precision) @ one.directions
    # Of what is left, that which no real image is surer of than is not drawn.
    expected = np.diag(factors) + np.maximum(one.rest - 0.01, 0.0)
    np.testing.assert_allclose(draws.var(axis=0)[4:], expected[4:], rtol=0.06)


def test_a_group_has_the_moments_of_its_images() -> None:
    flat = np.random.default_rng(3).random((300, 16))
    one = factor_group(2, 0.5, flat)
    np.testing.assert_allclose(one.mean, flat.mean(axis=0))
    variances = (one.directions**2).sum(axis=0) + one.rest - 0.01
    np.testing.assert_allclose(variances, flat.var(axis=0), atol=1e-9)


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    """The last 400 digits are nobody's records: they are what is completed."""
    return digits_run(tmp_path_factory.mktemp("study"), digits, rows=1397)


@pytest.fixture(scope="module")
def completion(run):
    plan = run.plan
    generator = RunFiles(run.path).read_generator(learns_schema=False)
    return Completion(generator, plan.schema, plan.target)


@pytest.fixture(scope="module")
def others(digits):
    return digits["image"][1397:], digits["digit"][1397:]


def error(found, images, hidden=None):
    apart = (found.reshape(images.shape).astype(float) - images) / 255.0
    return float(np.sqrt((apart**2 if hidden is None else apart[hidden] ** 2).mean()))


def test_the_hidden_half_of_other_digits_is_nearer_than_the_mean_digit(completion, others):
    images, labels = others
    known = np.ones(images.shape, dtype=bool)
    known[:, :, 4:] = False
    found = completion.complete(images, known=known)
    assert (found.images[..., 0][known] == images[known]).all()
    mean = np.broadcast_to(images.mean(axis=0), images.shape)
    assert error(found.images, images, ~known) < 0.95 * error(mean, images, ~known)
    assert (found.labels == labels).mean() > 0.6
    told = completion.complete(images, known=known, labels=list(labels))
    assert (told.labels == labels).all()
    assert error(told.images, images, ~known) < error(found.images, images, ~known)
    # The twin sees the known halves of other images, and is no better than the mean digit.
    twin = completion.complete(images[::-1].copy(), known=known)
    assert error(twin.images, images, ~known) > error(mean, images, ~known)


def test_small_digits_are_enlarged_better_than_by_repeating_pixels(completion, others):
    images, _ = others
    small = np.rint(images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))).astype(np.uint8)
    found = completion.complete(small).images
    repeated = small.repeat(2, axis=1).repeat(2, axis=2)
    assert error(found, images) < 0.85 * error(repeated, images)
    means = found.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    # Clipping at black and white moves a few.
    assert np.median(np.abs(means - small)) < 1.0


def test_draws_are_repeatable_and_differ_by_seed(completion, others):
    images = others[0][:5]
    known = np.zeros(images.shape, dtype=bool)
    first, again, other = (
        completion.complete(images, known=known, seed=seed).images for seed in (1, 1, 2)
    )
    assert (first == again).all() and (first != other).any()
    assert completion.complete(images[:0]).images.shape == (0, 8, 8, 1)


@pytest.mark.parametrize(
    "images, more",
    [
        (np.zeros((2, 8, 8)), {}),
        (np.zeros((2, 8, 4), np.uint8), {}),
        (np.zeros((2, 3, 3), np.uint8), {}),
        (np.zeros((2, 8, 8, 3), np.uint8), {}),
        (np.zeros((2, 0, 0), np.uint8), {}),
        (np.zeros((2, 4, 4), np.uint8), {"known": np.ones((2, 4, 4), bool)}),
        (np.zeros((2, 8, 8), np.uint8), {"known": np.ones((2, 8, 8))}),
        (np.zeros((2, 8, 8), np.uint8), {"labels": ["1"]}),
        (np.zeros((2, 8, 8), np.uint8), {"labels": ["1", "eleven"]}),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(completion, images, more):
    with pytest.raises(ConfigError):
        completion.complete(images, **more)


def test_the_command_completes_a_file(run, others, tmp_path):
    images, labels = others
    known = np.ones(images[:20].shape, dtype=bool)
    known[:, :4] = False
    given = np.where(np.arange(20) % 2, labels[:20], "")
    arrays = {"image": images[:20], "known": known, "digit": given, "file": np.arange(20)}
    (tmp_path / "in.npz").write_bytes(npz_bytes(arrays, compressed=True))
    out = tmp_path / "out.npz"
    asked = ["complete", str(run.path), str(tmp_path / "in.npz"), "--out", str(out)]
    assert main(asked) == 0
    with np.load(out) as made:
        assert sorted(made.files) == ["chance", "digit", "file", "image"]
        assert (made["digit"][1::2] == labels[1:20:2]).all() and (made["digit"] != "").all()
        direct = run.complete(images[:20], known=known, labels=list(given))
        np.testing.assert_array_equal(made["image"], direct.images)


def test_a_file_without_images_and_a_table_are_refused(run, tmp_path):
    np.savez(tmp_path / "in.npz", picture=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("in.npz", "text.npz", "none.npz"):
        asked = ["complete", str(run.path), str(tmp_path / name), "--out", str(tmp_path / "o.npz")]
        assert main(asked) == 2 and not (tmp_path / "o.npz").exists()


def test_labels_that_are_numbers_of_an_axis_are_read_as_a_sites_are(tmp_path, digits):
    """The label is an age; a file gives 37 where the class is a range of ages."""
    age = '[[column]]\nname = "age"\nkind = "integer"\nmin = 0\nmax = 99\n'
    (tmp_path / "schema.toml").write_text(SCHEMA.split("[[column]]")[0] + age)
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "ages"\nschema = "schema.toml"\ntarget = "age"\n'
        "[privacy]\nepsilon = 10.0\ndelta = 1e-5\n"
        '[[site]]\nname = "east"\n[[site]]\nname = "west"\n'
    )
    tables = {}
    for number, site in enumerate(("east", "west")):
        rows = slice(number * 800, (number + 1) * 800)
        tables[site] = tmp_path / f"{site}.npz"
        ages = digits["digit"][rows].astype(int) * 10
        np.savez(tables[site], image=digits["image"][rows], age=ages)
    run = fedloom.simulate(tmp_path / "study.toml", tables, out=tmp_path / "run")
    np.savez(tmp_path / "in.npz", image=digits["image"][:4], age=np.array([37, 37, 90, 0]))
    asked = ["complete", str(run.path), str(tmp_path / "in.npz"), "--out", str(tmp_path / "o.npz")]
    assert main(asked) == 0
    with np.load(tmp_path / "o.npz") as made:
        assert set(made["age"]) <= set(run.plan.encoding.class_labels)
        assert made["age"][0] == made["age"][1] != made["age"][2] != made["age"][3]
        assert made["chance"] == pytest.approx(1.0)
    np.savez(tmp_path / "scalar.npz", image=digits["image"][:4], age=np.array(3))
    assert main([*asked[:2], str(tmp_path / "scalar.npz"), *asked[3:]]) == 2
