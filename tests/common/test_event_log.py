"""Events: one a line, from a fixed list of fields, and nothing that a library or an error says."""

from __future__ import annotations

import json
import logging

import pytest

from fedloom.common import event_log
from fedloom.common.event_log import configure, event, events_to_file, serve_events


@pytest.fixture
def err(capsys):
    root = logging.getLogger()
    before = root.handlers, root.level
    yield lambda: capsys.readouterr().err
    configure(None, None)
    root.handlers, level = before
    root.setLevel(level)


def lines(err) -> list[dict[str, object]]:
    return [json.loads(line) for line in err().splitlines()]


def test_an_event_is_one_json_object_with_time_level_and_name(err):
    configure("json", None)
    event("message", run="00ff", round=2, code="ok", site=None)
    (line,) = lines(err)
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "event": "message", "run": "00ff", "round": 2, "code": "ok"}


def test_a_text_that_holds_line_ends_or_quotes_stays_one_line(err):
    configure(None, None)
    event("refused", detail='a "b"\nlevel=error forged')
    (text,) = err().splitlines()
    assert text.endswith('refused detail="a \\"b\\"\\nlevel=error forged"')
    configure("json", None)
    event("refused", detail="two\nlines\u2028more")
    assert len(err().splitlines()) == 1


def test_less_than_the_level_is_not_logged(err):
    configure("json", "warning")
    event("message")
    event("refused", level="warning")
    assert [line["event"] for line in lines(err)] == ["refused"]


def test_a_field_that_is_not_on_the_list_is_refused(err):
    configure("json", None)
    with pytest.raises(KeyError):
        event("message", value="Doe")
    assert err() == ""


def test_what_a_library_logs_is_named_and_not_quoted(err):
    configure("json", None)
    serve_events()
    try:
        raise ValueError("record 17: Doe")
    except ValueError:
        logging.getLogger("pandas").exception("row of Doe could not be read")
    (line,) = lines(err)
    assert line["event"] == "library" and line["program"] == "pandas"
    assert "Doe" not in str(line)


def test_the_command_line_comes_before_a_homes_file(err):
    configure("json", None)
    serve_events("text", "error")
    assert event_log.is_served()
    event("message", level="error")
    assert lines(err)[0]["level"] == "error"
    assert event_log.chosen_words() == ["--log-format", "json", "--log-level", "error"]


def test_a_file_of_events_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(event_log, "_LARGEST_LOG", 2000)
    path = tmp_path / "coordinator.log"
    with events_to_file(path, "json", None) as log:
        for number in range(200):
            event("round", to=log, round=number)
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, f"{path.name}.1"}
    assert all(entry.stat().st_size <= 2000 for entry in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["round"] == 199
