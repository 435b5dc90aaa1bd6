"""Webhooks as Slack takes them, over real HTTP: what is sent, and what becomes of each answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from paydown.clients import notices
from paydown.errors import PermanentError, RetryableError
from tests.integration.http_server import HttpServer, answered


class Slack(HttpServer):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.status, self.reply, self.headers = 200, b"ok", {}  # type: dict[str, str]
        super().__init__(self._take)

    def _take(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        assert handler.headers["Content-Type"] == "application/json"
        self.said.append(json.loads(body)["text"])
        answered(handler, self.status, self.reply, **self.headers)


@pytest.fixture
def slack() -> Iterator[Slack]:
    server = Slack()
    yield server
    server.close()


def post(slack: Slack, path: str = "/services/T0/B0/hush") -> None:
    notices.post({"url": slack.url + path}, "Paydown: something <!channel>", "because & of\n`@here`")


def test_a_message_arrives(slack: Slack) -> None:
    post(slack, "/hooks/abc/?thread=7")
    assert slack.asked == [("POST", "/hooks/abc/?thread=7")]
    assert slack.said == ["*Paydown: something ??channel?*\n```\nbecause &amp; of\n'@\u200bhere'\n```"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_passes(slack: Slack, status: int) -> None:
    slack.status, slack.headers = status, {"Retry_After": "7"}
    with pytest.raises(RetryableError) as caught:
        post(slack)
    assert caught.value.delay == 7
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_trouble_that_stays(slack: Slack, status: int) -> None:
    slack.status, slack.reply = status, b"no_service"
    with pytest.raises(PermanentError, match=str(status)) as caught:
        post(slack)
    assert "hush" not in str(caught.value)


def test_a_redirect_is_not_followed(slack: Slack) -> None:
    slack.status, slack.headers = 307, {"Location": f"{slack.url}/elsewhere"}
    with pytest.raises(PermanentError, match="redirects"):
        post(slack)
    assert len(slack.asked) == 1


def test_a_server_that_is_gone_is_tried_later(slack: Slack) -> None:
    url = slack.url
    slack.close()
    try:
        with pytest.raises(RetryableError, match="does not answer"):
            notices.post({"url": f"{url}/hush"}, "x", "y")
    finally:
        slack.close = lambda: None  # type: ignore[method-assign] -- it is closed
