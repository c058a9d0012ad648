import numpy as np
import pytest

from fedloom.common.artifact import Artifact
from fedloom.common.errors import ReleaseError


@pytest.fixture
def artifact():
    arrays = {
        "class_prior": np.array([0.25, 0.75]),
        "weights": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    return Artifact(kind="mixture", config={"components": 3}, arrays=arrays)


def test_an_artifact_survives_the_disk_bit_for_bit(artifact, tmp_path):
    artifact.save(tmp_path / "generator")
    read = Artifact.load(tmp_path / "generator")
    assert (read.kind, read.config) == (artifact.kind, artifact.config)
    for name, array in artifact.arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
        assert read.arrays[name].dtype == array.dtype
    assert sorted(path.name for path in (tmp_path / "generator").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors", "missing", "version"])
def test_a_damaged_generator_is_refused(artifact, tmp_path, damage):
    artifact.save(tmp_path)
    if damage == "missing":
        (tmp_path / "config.json").unlink()
    elif damage == "version":
        text = (tmp_path / "config.json").read_text()
        (tmp_path / "config.json").write_text(text.replace('"version":1', '"version":9'))
    else:
        (tmp_path / damage).write_bytes(b"\x80\x04broken")
    with pytest.raises(ReleaseError, match="format 9" if damage == "version" else "cannot"):
        Artifact.load(tmp_path)
