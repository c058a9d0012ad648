"""Frames: what moves, slants or scales an image changes its frame and hardly its view."""

from __future__ import annotations

import numpy as np
import pytest

from fedloom.common.images.frame import FRAME_LIMITS, from_frame, to_frame


def blob(cx=0.0, cy=0.0, sx=0.2, sy=0.3, slant=0.0, size=28):
    places = (np.arange(size) + 0.5) * 2 / size - 1
    y, x = np.meshgrid(places - cy, places - cx, indexing="ij")
    light = np.exp(-0.5 * (((x - slant * y) / sx) ** 2 + (y / sy) ** 2))
    return light[None, :, :, None]


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"cx": 0.2}, [0.2, 0, 0, 0, 0]),
        ({"cy": -0.15}, [0, -0.15, 0, 0, 0]),
        ({"sx": 0.25}, [0, 0, np.log(0.25 / 0.2), 0, 0]),
        ({"slant": 0.3}, [0, 0, 0, 0, 0.3]),
    ],
)
def test_a_blob_that_is_moved_scaled_or_slanted_has_the_same_view(changed, expected):
    plain, frames = to_frame(blob())
    moved, moved_frames = to_frame(blob(**changed))
    np.testing.assert_allclose(moved_frames - frames, [expected], atol=0.02)
    assert np.abs(moved - plain).max() < 0.06


def test_the_way_back_gives_the_image_but_for_interpolation():
    image = blob(cx=0.2, cy=0.1, sx=0.25, sy=0.4, slant=0.3)
    framed, frames = to_frame(image)
    assert np.abs(from_frame(framed, frames) - image).max() < 0.03


def test_an_image_without_light_and_one_without_spread_have_frames_all_the_same():
    dark = np.zeros((1, 8, 8, 3))
    framed, frames = to_frame(dark)
    np.testing.assert_array_equal(frames, np.zeros((1, 5)))
    np.testing.assert_array_equal(framed, dark)
    dot = dark.copy()
    dot[0, 0, 7] = 1.0
    framed, frames = to_frame(dot)
    assert np.isfinite(framed).all() and (np.abs(frames) <= FRAME_LIMITS).all()


def test_each_image_is_framed_by_itself():
    images = np.random.default_rng(0).random((5, 12, 9, 3))
    together, frames = to_frame(images)
    for number in range(5):
        alone, frame = to_frame(images[number : number + 1])
        np.testing.assert_allclose(alone[0], together[number])
        np.testing.assert_allclose(frame[0], frames[number])
