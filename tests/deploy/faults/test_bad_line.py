"""The bad line itself, without a network: delay, rate and loss by their closed forms."""

from __future__ import annotations

import random

import pytest

from tests.deploy.faults.bad_line import Line

FRAME = bytes(1250)


def line(*, delay_s: float = 0.0, loss: float = 0.0, rate: float = 1e12) -> Line:
    return Line(delay_s, loss, rate, random.Random(7))


def test_a_frame_leaves_after_the_delay_and_not_before():
    slow = line(delay_s=0.2)
    slow.take(FRAME, 10.0)
    assert slow.due(10.199) == []
    assert slow.next_due() == pytest.approx(10.2)
    assert slow.due(10.21) == [FRAME] and slow.next_due() is None


def test_frames_leave_in_order_no_faster_than_the_rate_and_what_waits_too_long_is_dropped():
    narrow = line(rate=125_000)  # a frame in 10 ms
    for number in range(1000):
        narrow.take(number.to_bytes(4, "big") * 312, 0.0)
    left = narrow.due(1.0)
    assert len(left) == pytest.approx(100, abs=2)
    left += narrow.due(100.0)
    assert left == sorted(left) and len(left) == pytest.approx(200, abs=3)  # two seconds of frames


def test_one_frame_in_a_hundred_is_lost():
    lossy = line(loss=0.01)
    for _ in range(50_000):
        lossy.take(FRAME, 0.0)
    # Five standard deviations of a binomial count: 500 +- 111.
    assert 50_000 - len(lossy.due(1.0)) == pytest.approx(500, abs=112)
