"""Times read as they are written, never as another day."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedloom.common.times import parse_time, read_times, time_on_axis

NOON = dt.datetime(2023, 6, 15, 12, 30)
ZONES = st.sampled_from([dt.timezone(dt.timedelta(minutes=m)) for m in (-570, -60, 60, 120, 330)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2023-06-15", dt.datetime(2023, 6, 15)),
        (" 2023/6/5 ", dt.datetime(2023, 6, 5)),
        ("20230615", dt.datetime(2023, 6, 15)),
        ("2023-06-15 12:30", NOON),
        ("2023-06-15T12:30:00.999", NOON),
        ("20230615T1230", NOON),
        ("2023-06-15T12:30:00Z", NOON.replace(tzinfo=dt.UTC)),
        ("2023-06-15 12:30 -0130", NOON.replace(tzinfo=dt.timezone(-dt.timedelta(minutes=90)))),
        ("2023-06-15 12:30+02", NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))),
    ],
)
def test_iso_times_are_read(text: str, said: dt.datetime) -> None:
    assert parse_time(text) == said
    assert parse_time(text).tzinfo == said.tzinfo  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        *("2023", "2023-06", "202306", "230615", "45092", "20230615123000", "1686787200"),
        *("15.06.2023", "01/05/2023", "15-06-2023", "2023-06/15", "2023-13-01", "2023-02-29"),
        *("2023-06-15 24:00", "2023-06-15 12", "2023-06-15+02:00", "today", "now", "2023-W24-4"),
        *("2023-06-15 12:30+99:00", "٢٠٢٣-٠٦-١٥", ""),
    ],
)
def test_other_ways_of_writing_are_no_times(text: str) -> None:
    assert parse_time(text) is None


@given(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)), ZONES)
def test_a_date_is_the_written_day_and_a_time_the_instant(
    written: dt.datetime, zone: dt.tzinfo
) -> None:
    written = written.replace(microsecond=0)
    moment = written.replace(tzinfo=zone)
    cells: list[object] = [moment, moment.isoformat(), pd.Timestamp(moment)]
    typed = pd.Series(pd.DatetimeIndex([moment]))
    for raw in (pd.Series(cells, dtype=object), typed):
        days = read_times(raw, dates_only=True)
        assert set(days) == {float((written.date() - dt.date(1970, 1, 1)).days)}
        assert set(read_times(raw, dates_only=False)) == {moment.timestamp()}


@pytest.mark.parametrize("zone", ["UTC", "Etc/UTC", "Europe/Berlin"])
def test_a_typed_column_of_dates_is_local_or_in_doubt(zone: str) -> None:
    midnight = pd.Series(pd.to_datetime(["2023-06-15", None])).dt.tz_localize("Europe/Berlin")
    days = read_times(midnight.dt.tz_convert(zone), dates_only=True)
    if zone == "Europe/Berlin":
        assert days[0] == (dt.date(2023, 6, 15) - dt.date(1970, 1, 1)).days
    else:
        assert np.isnan(days[0])
    assert np.isnan(days[1])


def test_times_beyond_the_calendar_are_no_times() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    assert np.isnan(time_on_axis(dt.datetime(1, 1, 1, tzinfo=east), dates_only=False))


def test_the_day_in_utc_would_be_caught() -> None:
    """The twin: read as an instant and floored, local midnight is the day before."""
    text = "2023-06-15T00:00:00+02:00"
    wrong = pd.to_datetime([text], utc=True)[0].date()
    right = read_times(pd.Series([text]), dates_only=True)[0]
    assert (wrong - dt.date(1970, 1, 1)).days != right
