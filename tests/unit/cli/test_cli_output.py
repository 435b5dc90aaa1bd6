"""What is printed: tables for people, plain text for pipes, and nothing that steers a terminal."""

import io
import json
import re

import pytest

from cli.main import main
from cli.output import Output, compact, plain, span
from tests.unit.toil.lamps import pushed

HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x9b1m\u202eevil\u2028\r\nnew [bold]line[/]\x7f"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x00\x07\x7f", "\\x00\\x07\\x7f"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202edlrow", "\\u202edlrow"),
        ("\u2066\u2028\u200b", "\\u2066\\u2028\\u200b"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        (None, "None"),
    ],
)
def test_what_could_steer_a_terminal_is_shown_as_an_escape(text, shown):
    assert plain(text) == shown


def steering(text, colours):
    """What is left of the steering characters, once line ends and the colours that rich makes are taken out."""
    if colours:
        text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return [one for one in text if not one.isprintable() and one != "\n"]


@pytest.mark.parametrize("colours", [True, False])
def test_no_way_out_lets_hostile_text_through(colours, terminal):
    stream, errors = (terminal if colours else io.StringIO()), io.StringIO()
    out = Output(stream, errors)
    assert out.fancy is colours
    out.line(HOSTILE)
    out.heading(HOSTILE)
    out.fields([(HOSTILE, HOSTILE)])
    out.table(["id", HOSTILE], [[HOSTILE, HOSTILE]], whole=["id"])
    out.document({"text": HOSTILE})
    out.note(HOSTILE)
    out.error(HOSTILE, 1, [(HOSTILE, HOSTILE)])
    printed = stream.getvalue()
    assert steering(printed, colours) == steering(errors.getvalue(), colours=False) == []
    assert "\\x1b]0;owned" in printed
    assert "[bold]line[/]" in printed.replace("\n", "")


def test_hostile_text_in_a_run_is_shown_as_text_and_kept_whole_in_json(
    paydown, plant, world, monkeypatch, terminal, clock
):
    world.burning = {"\x1b[31mred"}
    run = plant.look(pushed(HOSTILE))
    answer = paydown("explain", run.id)
    assert "lamp/\\x1b[31mred" in answer.out
    assert steering(answer.out, colours=False) == []
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", terminal)
        assert main(["explain", run.id], now=clock) == 0
    assert steering(terminal.getvalue(), colours=True) == []
    answer = paydown("explain", run.id, "--json")
    assert answer.out.isascii()
    assert "\x7f" not in answer.out
    assert answer.data["event"]["key"] == HOSTILE


def test_ids_are_never_wrapped_in_a_narrow_terminal(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = Output(terminal, io.StringIO())
    out.table(["run", "why"], [["0123456789ab", "a long explanation " * 5]], whole=["run"])
    assert "0123456789ab" in terminal.getvalue()


def test_plain_text_is_not_wrapped_or_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = io.StringIO()
    Output(stream, io.StringIO()).table(["a", "why"], [["1", "word " * 50 + "end"]])
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


def test_a_dumb_terminal_gets_plain_text(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert Output(terminal, io.StringIO()).fancy is False


def test_json_is_all_there_is_when_json_is_wanted():
    stream = io.StringIO()
    out = Output(stream, io.StringIO(), wants_json=True)
    out.line("text")
    out.heading("text")
    out.fields([("name", "value")])
    out.table(["a"], [["b"]])
    out.data({"answer": 1})
    assert json.loads(stream.getvalue()) == {"answer": 1}


def test_a_field_without_a_value_is_left_out():
    stream = io.StringIO()
    Output(stream, io.StringIO()).fields([("one", 1), ("two", None), ("three", ""), ("four", 0)])
    assert stream.getvalue() == "one   1\nfour  0\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (90, "2 min"), (7_200, "2 h"), (86_400 * 3, "3 d"), (-7_200, "-2 h")],
)
def test_lengths_of_time(seconds, text):
    assert span(seconds) == text


def test_data_in_one_line():
    assert compact({"a": [1, "ü"]}) == '{"a": [1, "ü"]}'
