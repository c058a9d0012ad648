from __future__ import annotations

import stat

import numpy as np
import pytest

from fedloom.common.errors import IncompleteError
from fedloom.server.checkpoints import Checkpoint, Checkpoints


def checkpoint(round_number: int) -> Checkpoint:
    arrays = {
        "weights/a": np.arange(6, dtype=np.float32).reshape(2, 3) * round_number,
        "moments/a": np.full((2, 3), 1 / 3, dtype=np.float64),
        "empty": np.zeros((0, 4)),
    }
    return Checkpoint(round=round_number, arrays=arrays, meta={"step": round_number, "x": 0.1})


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    assert kept.newest() is None
    kept.save(checkpoint(3))
    found = Checkpoints(tmp_path / "checkpoints").newest()
    assert found is not None and found.round == 3 and found.meta == {"step": 3, "x": 0.1}
    for name, array in checkpoint(3).arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


def test_only_the_newest_is_kept_and_only_the_owner_reads_it(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    for number in (9, 10, 11):
        kept.save(checkpoint(number))
    files = list((tmp_path / "checkpoints").iterdir())
    assert len(files) == 1 and kept.newest().round == 11
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "checkpoints").stat().st_mode) == 0o700


def test_what_a_crash_left_half_written_is_passed_over(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save(checkpoint(1))
    (tmp_path / "checkpoints" / "round-000002.partial").write_bytes(b"half")
    assert kept.newest().round == 1


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_checkpoint_says_what_to_do(tmp_path, damage):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save(checkpoint(1))
    next((tmp_path / "checkpoints").iterdir()).write_bytes(damage)
    with pytest.raises(IncompleteError, match="backup"):
        kept.newest()


def test_clearing_leaves_nothing(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save(checkpoint(1))
    kept.clear()
    kept.clear()
    assert not (tmp_path / "checkpoints").exists()
