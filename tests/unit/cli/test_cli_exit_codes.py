"""Which exit code a command line gets."""

import re
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError

from cli import exits
from cli.connection import Connection
from cli.main import main

PROJECT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["status"], 0),
        (["status", "--check"], 0),
        (["status", "--json"], 0),
        (["--json", "status"], 0),
        (["runs"], 0),
        (["runs", "--status", "Held", "--status", "verified"], 0),
        (["runs", "--status", "sleeping"], 2),
        (["runs", "--since", "yesterday"], 2),
        (["runs", "--since", "2026-11-01"], 0),
        (["explain", "xyz"], 2),
        (["explain", "abc"], 2),
        (["explain", "0000"], 4),
        (["explain", "0" * 32], 4),
        (["stop", "switch_off_lamps", "--why", "smoke"], 0),
        (["stop", "switch_of_lamps", "--why", "smoke"], 4),
        (["stop", "--why", "smoke"], 0),
        (["resume"], 0),
        (["resume", "switch_off_lamps"], 0),
        (["resume", "no_such_toil"], 4),
        (["policy", "show"], 0),
        (["policy", "show", "--version", "1"], 0),
        (["policy", "show", "--version", "9"], 4),
        (["inventory", "show"], 0),
    ],
)
def test_the_exit_code_of(argv, code, paydown, plant):
    answer = paydown(*argv)
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    if code not in (exits.FINE, exits.USAGE):
        assert answer.err.startswith("paydown: ")


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["runs", "--help"], 0),
        ([], 2),
        (["no_such_command"], 2),
        (["status", "--chec"], 2),
        (["runs", "--limit", "0"], 2),
        (["runs", "--limit", "many"], 2),
        (["explain"], 2),
        (["stop", "switch_off_lamps"], 2),
        (["policy"], 2),
        (["schema", "policy"], 0),
        (["schema", "inventory"], 0),
        (["schema", "weather"], 2),
        (["policy", "publish", "no-such-file.json"], 4),
        (["policy", "publish", "/"], 2),
        (["send", "no-such-file.json"], 4),
        (["--local", "--stack", "none", "schema", "policy"], 0),
    ],
)
def test_the_exit_code_of_what_needs_no_ledger(argv, code, capsys):
    assert main(argv) == code


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (NoRegionError(), "--region"),
        (EndpointConnectionError(endpoint_url="https://nowhere"), "cannot be reached"),
    ],
)
def test_aws_that_cannot_be_reached_is_6(error, words, paydown, plant, monkeypatch):
    def refuse(self, service):
        raise error

    monkeypatch.setattr(Connection, "client", refuse)
    answer = paydown("runs")
    assert (answer.code, words in answer.err) == (exits.UNREACHABLE, True)


def test_a_table_that_is_not_there_is_6(paydown, monkeypatch):
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", "elsewhere")
    answer = paydown("runs")
    assert answer.code == exits.UNREACHABLE
    assert "ResourceNotFoundException" in answer.err


def test_a_stack_that_is_not_there_is_4(paydown):
    answer = paydown("runs", "--stack", "elsewhere")
    assert answer.code == exits.NOT_FOUND
    assert "there is no stack elsewhere" in answer.err


def test_a_stack_without_a_ledger_is_4(paydown, stacks):
    stacks["other"] = {"StackName": "other"}
    answer = paydown("runs", "--stack", "other")
    assert answer.code == exits.NOT_FOUND
    assert "no output LedgerTable" in answer.err


def test_a_defect_is_1_without_a_stack_trace_unless_asked_for(paydown, plant, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("\x1b[31mred")

    monkeypatch.setattr(Connection, "ledger", property(broken))
    answer = paydown("runs")
    assert answer.code == exits.UNEXPECTED
    assert "unexpected error: ZeroDivisionError: \\x1b[31mred" in answer.err
    assert "Traceback" not in answer.err
    monkeypatch.setenv("PAYDOWN_DEBUG", "1")
    assert "Traceback" in (traced := paydown("runs").err)
    assert "\x1b" not in traced


def test_an_error_is_json_too_when_json_is_wanted(paydown, plant):
    answer = paydown("--json", "explain", "0" * 32)
    assert answer.data == {"error": {"code": 4, "message": f"there is no run {'0' * 32}", "faults": []}}
    assert answer.err == ""


def test_the_documentation_lists_every_exit_code():
    documented = re.findall(r"^\| (\d+) \|", (PROJECT / "docs/cli.md").read_text(), re.MULTILINE)
    assert sorted(map(int, documented)) == sorted(
        value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)
    )
