"""Which stack, account and ledger a command is about."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.connection import Connection
from cli.exits import UnreachableError

PROJECT = Path(__file__).resolve().parents[3]
RUNNING = {"endpoint_url": "http://127.0.0.1:45671", "stack": "here", "region": "eu-west-1"}


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A folder below one in which the local application runs."""
    (tmp_path / ".paydown").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / ".paydown/local.json").write_text(json.dumps(RUNNING))
    monkeypatch.chdir(tmp_path / "docs")
    return tmp_path / ".paydown/local.json"


@pytest.mark.parametrize(
    ("environment", "connection", "stack", "table"),
    [
        ({}, Connection(), "paydown", "table of paydown"),
        ({"PAYDOWN_STACK": "env"}, Connection(), "env", "table of env"),
        ({"PAYDOWN_STACK": "env"}, Connection("named"), "named", "table of named"),
        ({"PAYDOWN_LEDGER_TABLE": "t"}, Connection(), "paydown", "t"),
        ({"PAYDOWN_LEDGER_TABLE": "t", "PAYDOWN_STACK": "env"}, Connection(), "env", "t"),
        ({"PAYDOWN_LEDGER_TABLE": "t"}, Connection("named"), "named", "table of named"),
        ({"PAYDOWN_LEDGER_TABLE": "t", "PAYDOWN_STACK": "env"}, Connection(local=True), "here", "table of here"),
        ({"PAYDOWN_LEDGER_TABLE": "t"}, Connection("named", local=True), "named", "table of named"),
    ],
)
def test_which_stack_and_ledger(environment, connection, stack, table, stacks, local, monkeypatch):
    for name in ("PAYDOWN_STACK", "PAYDOWN_LEDGER_TABLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("paydown", "env", "named", "here"):
        stacks[name] = {"Outputs": [{"OutputKey": "LedgerTable", "OutputValue": f"table of {name}"}]}
    assert (connection.stack_name, connection.table_name) == (stack, table)


def test_the_local_stack_is_reached_whatever_the_environment_says(local, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://elsewhere.example.org")
    monkeypatch.setenv("AWS_PROFILE", "production")
    client = Connection(local=True).client("dynamodb")
    assert (client.meta.endpoint_url, client.meta.region_name) == (RUNNING["endpoint_url"], "eu-west-1")
    assert client.meta.config.read_timeout == 10


def test_the_command_line_overrides_what_the_local_application_says(local):
    connection = Connection(local=True, endpoint_url="http://127.0.0.1:45672/", region="us-east-1")
    client = connection.client("sqs")
    assert (client.meta.endpoint_url, client.meta.region_name) == ("http://127.0.0.1:45672", "us-east-1")


def test_region_and_endpoint_of_a_real_account():
    client = Connection(region="eu-north-1").client("sqs")
    assert client.meta.endpoint_url == "https://sqs.eu-north-1.amazonaws.com"
    client = Connection(endpoint_url="http://127.0.0.1:45673").client("sqs")
    assert client.meta.endpoint_url == "http://127.0.0.1:45673"


def test_the_region_that_the_aws_cli_would_take(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert Connection().client("sqs").meta.region_name == "eu-central-1"
    monkeypatch.setenv("AWS_REGION", "eu-south-1")
    assert Connection().client("sqs").meta.region_name == "eu-south-1"
    assert Connection(region="eu-west-3").client("sqs").meta.region_name == "eu-west-3"


def test_a_client_is_made_once():
    connection = Connection()
    assert connection.client("sqs") is connection.client("sqs")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stack": "here"}', '"text"'])
def test_a_damaged_file_of_the_local_application(content, local, command):
    local.write_text(content)
    answer = command("runs", "--local")
    assert (answer.code, "start the local application again" in answer.err) == (6, True)


def test_no_local_application(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    answer = command("runs", "--local")
    assert (answer.code, "make run" in answer.err) == (6, True)


def test_without_localstack_client_the_message_says_what_to_install(local, monkeypatch):
    monkeypatch.setitem(sys.modules, "localstack_client.session", None)
    with pytest.raises(UnreachableError, match="pip install localstack-client"):
        Connection(local=True).client("sqs")


def test_a_profile_that_does_not_exist_is_6(command, monkeypatch):
    answer = command("runs", "--profile", "nobody")
    assert (answer.code, "nobody" in answer.err) == (6, True)


def run(*argv, **options):
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}/layers/shared:{PROJECT}"}
    return subprocess.Popen([sys.executable, *argv], cwd=PROJECT, env=environment, text=True, **options)


def test_help_loads_nothing_heavy():
    program = "import sys; from cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    process = run("-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    assert "explain" in out
    heavy = {"boto3", "botocore", "pydantic", "rich", "yaml", "docker", "kubernetes", "paydown.policy", "regex"}
    assert heavy & set(err.split()) == set()


def test_whoever_reads_the_output_may_go_away():
    read, write = os.pipe()
    os.close(read)
    process = run("-m", "cli", "schema", "policy", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")
