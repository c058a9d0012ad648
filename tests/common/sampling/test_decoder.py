"""The decoder in double precision against the network that was trained, and its shapes."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.encoding import Encoding
from fedloom.common.errors import ConfigError
from fedloom.common.models.blocks import Blocks
from fedloom.common.models.decoder import DecoderNet, class_rows
from fedloom.common.models.private_model import read_weights
from fedloom.common.sampling.decoder import LatentDecoder
from fedloom.common.schema import Column, Schema

torch = pytest.importorskip("torch")

SCHEMA = Schema(
    (
        Column("a", "category", values=("p", "q", "r"), nullable=True),
        Column("b", "integer", minimum=0, maximum=90, bins=10),
        Column("t", "category", values=("0", "1")),
    )
)
ENCODING = Encoding(SCHEMA, "t")


def network() -> DecoderNet:
    rng = torch.Generator().manual_seed(7)
    net = DecoderNet(3, ENCODING.num_classes, 20, ENCODING.width, rng)
    with torch.no_grad():
        net.outer.weight.normal_(0.0, 0.7, generator=rng)
        net.outer.bias.normal_(0.0, 0.7, generator=rng)
        net.inner.bias.normal_(0.0, 0.7, generator=rng)
    return net


def artifact(net: DecoderNet) -> Artifact:
    arrays = {f"net.{name}": value for name, value in read_weights(net).items()}
    table = np.random.default_rng(7).normal(0, 1, (ENCODING.num_classes, ENCODING.width))
    arrays["table"] = table.astype(np.float32)
    arrays["class_prior"] = np.ones(ENCODING.num_classes) / ENCODING.num_classes
    return Artifact(kind="vae", config={"hidden": 20, "latent": 3}, arrays=arrays)


def test_cells_are_those_of_the_trained_network():
    """Oracle: torch, in its single precision, on the same latents."""
    net, classes = network(), np.array([0, 1, 1, 0] * 50)
    made = artifact(net)
    latents = np.random.default_rng(5).standard_normal((len(classes), 3))
    ((labels, cells),) = LatentDecoder(made, ENCODING).cells(classes, np.random.default_rng(5))
    np.testing.assert_array_equal(labels, classes)
    blocks = Blocks.of(ENCODING)
    with torch.no_grad():
        rows = class_rows(classes, ENCODING.num_classes)
        logits = torch.from_numpy(made.arrays["table"])[classes]
        logits = logits + net(torch.from_numpy(latents).float(), rows)
        expected = blocks.log_softmax(logits + blocks.mask).exp().numpy()
    assert cells.dtype == np.float64
    np.testing.assert_allclose(cells, expected, atol=2e-6)
    assert (
        cells[:, [not allowed for b in ENCODING.features for allowed in b.sampleable]] == 0
    ).all()


def test_chunks_and_their_number_do_not_change_the_cells(monkeypatch):
    from fedloom.common.sampling import decoder

    classes = np.array([0, 1] * 300)
    reader = LatentDecoder(artifact(network()), ENCODING)
    ((_, whole),) = reader.cells(classes, np.random.default_rng(5))
    monkeypatch.setattr(decoder, "_CHUNK_CELLS", 64 * ENCODING.width)
    parts = [cells for _, cells in reader.cells(classes, np.random.default_rng(5))]
    assert len(parts) > 2
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.arrays.pop("table"),
        lambda a: a.arrays.update(table=a.arrays["table"][:, 1:]),
        lambda a: a.config.pop("latent"),
        lambda a: a.config.update(hidden=10**9),
        lambda a: a.config.update(latent="3"),
        lambda a: a.config.update(latent=True),
    ],
)
def test_arrays_of_another_size_are_refused(change):
    made = artifact(network())
    change(made)
    with pytest.raises(ConfigError):
        LatentDecoder(made, ENCODING)
