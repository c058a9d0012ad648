"""Images: a federated study with defaults alone, judged by what a network learns from it.

    python benchmarks/images.py MNIST.npz --epsilon 1 --epsilon 10 --seeds 3 --sheets sheets

The file holds `train_images`, `train_labels`, `test_images`, `test_labels`. The training part is
dealt to ten sites by a Dirichlet(0.3) draw over labels, summed by a secure sum, and released. A
small convolutional network learns from the synthetic images, its epoch chosen on a tenth of them,
and is tested on the test part. "LeNet-FID" is the Frechet distance of 10,000 synthetic and 10,000
test images in the 64 features of the same network trained on real training images; the floor is
that of 10,000 real training images. It is not the FID of other papers. Precision, recall, density
and coverage (`image_neighbours`) are of 4,000 images each in the same features; `agreement` is the
share of synthetic images in which that network sees their class, `modes` the smallest share of a
class among what it sees over that among the test images.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image_neighbours import mode_shares, neighbours
from torch import nn

import fedloom
from fedloom.privacy.release.report.sheets import png

SITES, CONCENTRATION, DELTA = 10, 0.3, 1e-5
EPOCHS, BATCH, RATE, COMPARED, NEIGHBOURS = 4, 64, 1e-3, 10_000, 4000

Array = np.ndarray[Any, Any]


class Network(nn.Module):
    """Two convolutions and a hidden layer of 64 features."""

    def __init__(self, height: int, width: int, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * (height // 4) * (width // 4), 64)
        self.last = nn.Linear(64, classes)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the hidden layer, (N, 64)."""
        images = torch.max_pool2d(torch.relu(self.first(images)), 2)
        images = torch.max_pool2d(torch.relu(self.second(images)), 2)
        return torch.relu(self.hidden(images.flatten(1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits."""
        return self.last(self.features(images))


def tensor(images: Array) -> torch.Tensor:
    """Returns images in [0, 1], channels first."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255


def trained(images: Array, labels: Array, seed: int) -> Network:
    """Returns the network of the epoch that is best on a tenth of the images."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    aside, rest = order[: len(order) // 10], order[len(order) // 10 :]
    inputs, targets = tensor(images), torch.tensor(labels).long()
    network = Network(*images.shape[1:], classes=int(labels.max()) + 1)
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    best, kept = -1.0, network.state_dict()
    for _ in range(EPOCHS):
        for batch in np.array_split(rng.permutation(rest), math.ceil(len(rest) / BATCH)):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            optimiser.step()
        score = accuracy(network, images[aside], labels[aside])
        if score > best:
            best, kept = score, {k: v.clone() for k, v in network.state_dict().items()}
    network.load_state_dict(kept)
    return network


@torch.no_grad()
def seen(network: Network, images: Array) -> Array:
    """Returns the class that a network sees in each image."""
    return torch.cat([network(part) for part in tensor(images).split(2000)]).argmax(1).numpy()


def accuracy(network: Network, images: Array, labels: Array) -> float:
    """Returns the share of images that are told right."""
    return float((seen(network, images) == labels).mean())


@torch.no_grad()
def features(network: Network, images: Array) -> Array:
    """Returns the features of the first images."""
    parts = tensor(images[:COMPARED]).split(2000)
    return torch.cat([network.features(part) for part in parts]).double().numpy()


def frechet(one: Array, other: Array) -> float:
    """Frechet distance of two normal distributions (Heusel et al. 2017)."""
    first, second = np.cov(one.T), np.cov(other.T)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second @ root), 0)).sum()
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    return float(apart + np.trace(first) + np.trace(second) - 2 * both)


def sheet(images: Array, labels: Array, path: Path, count: int = 12) -> None:
    """Writes a page with a row for each class, two pixels for one."""
    rows = []
    for label in np.unique(labels):
        own = images[labels == label][:count]
        blank = np.zeros((count - len(own), *images.shape[1:]), np.uint8)
        rows.append(np.concatenate([*own, *blank], axis=1))
    page = np.concatenate(rows).repeat(2, axis=0).repeat(2, axis=1)
    path.write_bytes(png(page))


def judged(
    judge: Network, real: Array, labels: Array, made: Array, wanted: Array
) -> dict[str, Any]:
    """Compares synthetic with real images in the features of a network that learned real ones."""
    truth, drawn = features(judge, real), features(judge, made)
    near = neighbours(truth[:NEIGHBOURS], drawn[:NEIGHBOURS])
    told, classes = seen(judge, made), int(labels.max()) + 1
    modes = mode_shares(told, classes) / mode_shares(labels, classes)
    return {
        "lenet_fid": frechet(drawn, truth),
        **dataclasses.asdict(near),
        "agreement": float((told == wanted).mean()),
        "modes": float(modes.min()),
    }


def dealt(images: Array, labels: Array, folder: Path, seed: int) -> dict[str, Path]:
    """Deals records to sites: each label by a Dirichlet draw of its own."""
    rng = np.random.default_rng(seed)
    site = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        site[rows] = rng.choice(SITES, len(rows), p=rng.dirichlet(np.full(SITES, CONCENTRATION)))
    paths = {}
    for number in range(SITES):
        paths[f"site-{number}"] = folder / f"site-{number}.npz"
        own = site == number
        np.savez(paths[f"site-{number}"], image=images[own], label=labels[own].astype(str))
    return paths


def released(
    data: dict[str, Array], model: str, look: bool, epsilon: float, seed: int, folder: Path
) -> tuple[Any, ...]:
    """Runs the study and returns synthetic images, labels, and the seconds of study and draw.

    Args:
      data: arrays of the file.
      model: lines of `[model]`.
      look: whether it trains from a look alone.
      epsilon: of the study.
      seed: of the deal and the draw.
      folder: for the study's files.
    """
    images, labels = data["train_images"], data["train_labels"]
    channels = images.shape[3] if images.ndim == 4 else 1
    paths = dealt(images, labels, folder, seed)
    values = ", ".join(f'"{label}"' for label in np.unique(labels))
    (folder / "schema.toml").write_text(
        f"[image]\nheight = {images.shape[1]}\nwidth = {images.shape[2]}\nchannels = {channels}\n"
        f'[[column]]\nname = "label"\nkind = "category"\nvalues = [{values}]\n'
    )
    (folder / "study.toml").write_text(
        '[study]\nname = "images"\nschema = "schema.toml"\ntarget = "label"\n'
        f'[privacy]\nepsilon = {epsilon}\ndelta = {DELTA}\ntrust = "secure-sum"\n'
        f"[model]\n{model}\n"
        + ('[statistics]\nkind = "one-way"\n' if look else "")
        + "".join(f'[[site]]\nname = "{name}"\n' for name in paths)
    )
    start = time.perf_counter()
    run = fedloom.simulate(folder / "study.toml", paths, out=folder / "run")
    fitted = time.perf_counter()
    drawn = run.sample(len(labels), seed=seed)
    done = time.perf_counter()
    made = np.stack(list(drawn["image"]))
    return made, drawn["label"].astype(int).to_numpy(), fitted - start, done - fitted


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--epsilon", type=float, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sheets", type=Path, help="folder for a page of each release")
    parser.add_argument("--model", default="image-mixture")
    parser.add_argument("--set", action="append", default=[], help='of [model], as "flow = 4"')
    parser.add_argument("--look", action="store_true", help="train from a look alone, no sums")
    options = parser.parse_args()
    model = "\n".join([f'kind = "{options.model}"', *options.set])
    with np.load(options.data) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    real = data["train_images"], data["test_images"]
    train, test = (part if part.ndim == 4 else part[..., None] for part in real)
    answers = data["test_labels"].astype(int)
    judge = trained(train, data["train_labels"].astype(int), 0)
    floor = judged(judge, test, answers, train, data["train_labels"].astype(int))
    print(json.dumps({"real": accuracy(judge, test, answers), **floor}), flush=True)
    for epsilon in options.epsilon:
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                made, labels, fit, draw = released(
                    data, model, options.look, epsilon, seed, Path(folder)
                )
            if options.sheets:
                options.sheets.mkdir(exist_ok=True)
                sheet(made, labels, options.sheets / f"{options.data.stem}_{epsilon:g}_{seed}.png")
            line = {"model": model, "look": options.look, "epsilon": epsilon, "seed": seed}
            line["accuracy"] = accuracy(trained(made, labels, seed), test, answers)
            line |= judged(judge, test, answers, made, labels)
            print(json.dumps({**line, "study_s": fit, "draw_s": draw}), flush=True)


if __name__ == "__main__":
    main()
