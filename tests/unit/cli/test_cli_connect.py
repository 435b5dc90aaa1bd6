"""`paydown connect`: a secret, a configuration, and a first request."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import boto3
import pytest
import yaml

from cli import connect, senders
from cli.main import SOURCES
from paydown.ledger.sources_seen import Sources
from paydown.sources import SENDERS, alertmanager, github, harbor

PROJECT = Path(__file__).resolve().parents[3]
URL = "https://api.example/v1/webhooks/"


@pytest.fixture
def sources(ledger):
    return Sources(ledger.table, ledger.table._client)


@pytest.fixture
def secret(ledger):
    """The secret of a sender of the stack `house`, as ingress reads it; None for none."""
    client = boto3.client("secretsmanager")

    def read(source="registry"):
        try:
            return json.loads(client.get_secret_value(SecretId=f"house/webhooks/{source}")["SecretString"])
        except client.exceptions.ResourceNotFoundException:
            return None

    def store(value, source="registry"):
        client.create_secret(Name=f"house/webhooks/{source}", SecretString=json.dumps(value))

    read.store = store
    return read


@pytest.fixture
def run(paydown, house, stacks, sources):
    stacks[house]["Outputs"].append({"OutputKey": "WebhookUrl", "OutputValue": URL})

    def connected(source="registry", *argv):
        return paydown("connect", source, "--stack", house, *argv)

    return connected


def test_the_sources_are_the_senders():
    assert tuple(sorted(SENDERS)) == SOURCES == tuple(senders.TEXTS) == tuple(senders.TRIALS)


def test_a_missing_secret_is_made_and_not_shown(run, secret):
    answer = run("registry", "--no-wait")
    made = secret()["current"]
    assert (answer.code, set(secret())) == (0, {"current"})
    assert len(made) >= 40
    assert made not in answer.out + answer.err
    assert f"url: {URL}registry" in answer.out
    assert "get-secret-value --secret-id house/webhooks/registry" in answer.out
    assert "was missing and is made now" in answer.out


@pytest.mark.parametrize("value", [{"current": "known"}, {"current": "known", "previous": "old"}, "known"])
def test_a_secret_that_is_there_stays(run, secret, value):
    secret.store(value)
    answer = run("registry", "--no-wait", "--show-secret")
    assert secret() == value
    assert 'Authorization: ["Bearer known"]' in answer.out


@pytest.mark.parametrize("value", [{"current": "known", "previous": "old"}, "known"])
def test_a_new_secret_leaves_the_old_one_good(run, secret, value):
    secret.store(value)
    answer = run("registry", "--no-wait", "--rotate")
    assert secret()["previous"] == "known"
    assert secret()["current"] not in ("known", "old")
    assert "five minutes" in answer.out
    assert secret()["current"] not in answer.out


def test_a_secret_that_proves_nobody_is_replaced(run, secret):
    secret.store({})
    assert run("registry", "--no-wait").code == 0
    assert set(secret()) == {"current"}


@pytest.mark.parametrize("source", SOURCES)
def test_the_configuration_with_its_secret_in_a_file_of_ones_own(source, run, secret, tmp_path):
    secret.store({"current": "100%ers3cret"}, source)
    path = tmp_path / "config"
    answer = run(source, "--no-wait", "--output", str(path))
    text = path.read_text()
    assert answer.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert URL + source in text
    assert ("100%%ers3cret" if source == "roundup" else "100%ers3cret") in text
    assert "ers3cret" not in answer.out + answer.err


def test_a_file_that_is_there_is_not_written_over_and_nothing_is_changed(run, secret, tmp_path):
    path = tmp_path / "config"
    path.write_text("mine")
    assert run("registry", "--no-wait", "--output", str(path)).code == 2
    assert (path.read_text(), secret()) == ("mine", None)


def test_json_holds_the_secret_only_when_it_was_asked_for(run, secret):
    secret.store({"current": "s3cret"})
    answer = run("registry", "--no-wait", "--json")
    assert answer.data["secret"] == "kept"
    assert (answer.data["url"], answer.data["heard"], answer.data["waited"]) == (f"{URL}registry", None, False)
    assert "s3cret" not in answer.out
    assert "s3cret" in run("registry", "--no-wait", "--json", "--show-secret").data["configuration"]


@pytest.fixture
def later(monkeypatch):
    """Does something each time that the command pauses; returns the pauses."""
    pauses = []

    def install(action):
        def sleep(seconds):
            pauses.append(seconds)
            action()

        monkeypatch.setattr(connect.time, "sleep", sleep)
        return pauses

    return install


def test_it_waits_until_the_sender_is_heard_of(run, sources, clock, later):
    sources.hear("github", clock())
    clock.tick(5)
    pauses = later(lambda: sources.hear("github", clock()) if len(pauses) == 3 else None)
    answer = run("github", "--wait", "60")
    assert answer.code == 0
    assert len(pauses) == 3
    assert "heard of github at 2026-11-22 03:00:05Z: it is connected" in answer.out
    assert "ping" in answer.err


def test_another_sender_does_not_count(run, sources, clock, later):
    later(lambda: sources.hear("registry", clock()))
    answer = run("github", "--wait", "1")
    assert answer.code == 7
    assert "nothing came from github" in answer.out


def test_who_has_waited_long_enough_is_told_what_there_is(run, later):
    def interrupt():
        raise KeyboardInterrupt

    later(interrupt)
    answer = run("github")
    assert answer.code == 7
    assert "nothing came from github" in answer.out


@pytest.mark.parametrize(
    "argv",
    [
        ["jenkins"],
        ["registry", "--wait", "1", "--no-wait"],
        ["registry", "--show-secret", "--output", "x"],
        ["registry", "--wait", "soon"],
    ],
)
def test_what_makes_no_sense_changes_nothing(argv, run, secret):
    assert run(*argv).code == 2
    assert secret() is None
    assert not Path("x").exists()


@pytest.mark.parametrize("source", ["alertmanager", "registry"])
def test_what_is_pasted_is_yaml(source):
    found = yaml.safe_load(senders.configuration(source, URL + source, "s3cret"))
    assert URL + source in json.dumps(found)


def section(heading):
    """What docs/senders.md says under a heading."""
    text = (PROJECT / "docs/senders.md").read_text()
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    ("source", "heading", "line", "understood"),
    [
        ("github", "GitHub issues", "Events:", github.UNDERSTOOD),
        ("harbor", "Harbor", "Event Type:", (harbor.PUSHES[0], harbor.SCANS[0])),
    ],
)
def test_the_events_to_choose_are_those_that_ingress_understands_and_the_page_names(source, heading, line, understood):
    chosen = senders.EVENTS[source]
    assert tuple(chosen) == understood
    text = senders.configuration(source, URL + source, "s3cret")
    (told,) = [one for one in text.splitlines() if one.startswith(line)]
    assert told.rpartition(":")[2].strip() == ", ".join(chosen.values())
    page = " ".join(section(heading).split())
    for name in chosen.values():
        assert f"*{name}*" in page


def test_the_names_of_alerts_and_the_label_of_ones_own_are_routed():
    found = yaml.safe_load(senders.configuration("alertmanager", URL, "s3cret"))
    matchers = [one for route in found["route"]["routes"] for one in route["matchers"]]
    (names,) = [one.split("=~", 1)[1].strip().strip('"') for one in matchers if one.startswith("alertname =~")]
    for name in (*alertmanager.NODE_ALERTS, *alertmanager.DISK_ALERTS, alertmanager.PRESSURE_ALERT):
        assert re.fullmatch(names, name), name
    (kinds,) = [one.split("=~", 1)[1].strip().strip('"') for one in matchers if one.startswith("paydown_event =~")]
    assert all(re.fullmatch(kinds, kind) for kind in ("NodeNotReady", "DiskPressure"))
