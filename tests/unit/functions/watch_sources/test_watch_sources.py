"""Every five minutes: how many senders are silent."""

import io
import json

import pytest

from functions.watch_sources import app
from paydown.ledger.sources_seen import Sources


@pytest.fixture
def sources(ledger, clock, monkeypatch):
    made = Sources(ledger.table, ledger.table._client)
    monkeypatch.setattr(app, "_opened", [(ledger, made)])
    monkeypatch.setattr(app, "utc_now", clock)
    return made


@pytest.fixture
def log(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(app.logger.handlers[0], "stream", stream)
    return stream


def metrics(capsys):
    return [json.loads(line)["SilentSources"] for line in capsys.readouterr().out.splitlines() if "_aws" in line]


def test_the_silent_are_counted_and_the_log_names_them(ledger, sources, clock, log, capsys):
    expected = {name: {"expect_every_seconds": 300} for name in ("alertmanager", "registry", "roundup")}
    ledger.policy.publish({"sources": expected}, "test", clock())
    clock.tick(400)
    sources.hear("registry", clock())
    assert app.handler({}) == {"silent": ["alertmanager", "roundup"]}
    assert metrics(capsys) == [[2.0]]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["source"] for line in lines if line["message"] == "silent"] == ["alertmanager", "roundup"]


def test_nobody_is_silent_when_nobody_is_expected(ledger, sources, clock, capsys):
    assert app.handler({}) == {"silent": []}
    ledger.policy.publish({}, "test", clock())
    assert app.handler({}) == {"silent": []}
    assert metrics(capsys) == [[0.0], [0.0]]


def test_the_metric_has_no_dimension(ledger, sources, capsys):
    app.handler({})
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]
