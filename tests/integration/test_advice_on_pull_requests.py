"""Advice as a comment on the pull requests of the image's commit, over the GitHub client."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from functions.advise_image_layers.advice import Advice
from functions.advise_image_layers.app import AdviseImageLayers, PublishAdvice, Settings
from paydown.clients import aws
from paydown.events import ImagePushed
from paydown.inventory import Inventory, Tag
from paydown.plan import Done, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.integration.github_server import Github

NOW = datetime(2026, 1, 15, tzinfo=UTC)
COMMIT = "ab" * 20
DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[Github]:
    server = Github()
    monkeypatch.setattr(aws, "secret", lambda name: {"token": "hush-hush"})
    for number in (7, 8):
        server.open(number)
    server.pulls[COMMIT] = [{"number": 7, "state": "open"}, {"number": 8, "state": "closed"}]
    yield server
    server.close()


def run_of(github: Github, text: str = "the first line", **more: str) -> tuple[AdviseImageLayers, Tag, PublishAdvice]:
    """A run that is to publish advice."""
    event = ImagePushed(key="k", at=NOW, registry="r.example", repository="web", digest=DIGEST, tag="latest")
    inventory = Inventory.parse(
        {
            "registries": [{"uid": "r", "name": "r.example", "url": "https://r.example"}],
            "trackers": [{"uid": "g", "name": "acme/shop", "system": "github", "url": github.url, "secret": "s"}],
        }
    )
    toil = AdviseImageLayers(
        Scene(
            run_id="r",
            event=event,
            inventory=inventory,
            policy=Policy(),
            settings=Settings(),
            observing=False,
            now=lambda: NOW,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
    )
    [target] = AdviseImageLayers.targets(event, inventory)
    advice = (Advice(rule="add-for-copy", text="say COPY", lines=(3, 3)),)
    said = {"object": "r.example/web:latest", "digest": DIGEST, "precondition": "p", "text": text, "revision": COMMIT}
    return toil, target, PublishAdvice.model_validate({**said, "advice": advice, "pulls_in": "acme/shop", **more})


def test_open_pull_requests_are_told_once(github: Github) -> None:
    toil, target, action = run_of(github)
    record = Record({}, [Step(0, 0, action, StepState.DONE)], NOW)
    assert isinstance(toil.verify(target, record), Unverified)
    for _ in range(2):
        done = toil.apply(action, target)
        assert isinstance(done, Done)
        assert done.evidence["pull_requests"] == ["7"]
    [comment] = github.comments[7]
    assert "the first line" in comment["body"]
    assert not github.comments[8]
    seen = toil.verify(target, record)
    assert isinstance(seen, Verified)
    assert seen.evidence["pull_requests"] == ["7"]


def test_the_comment_is_kept_up_to_date(github: Github) -> None:
    toil, target, action = run_of(github)
    toil.apply(action, target)
    toil, target, action = run_of(github, "another line")
    toil.apply(action, target)
    [comment] = github.comments[7]
    assert "another line" in comment["body"]
    assert "the first line" not in comment["body"]


def test_nobody_is_asked_for_pull_requests_unless_the_inventory_says_where(github: Github) -> None:
    for more in ({"pulls_in": ""}, {"pulls_in": "elsewhere"}):
        toil, target, action = run_of(github, **more)
        assert toil.apply(action, target) == Done({"advice": 1})
    assert github.asked == []


def test_what_holds_no_more_is_told_where_it_was_told(github: Github) -> None:
    toil, target, action = run_of(github)
    toil.apply(action, target)
    for told, expected in ((("8",), "the first line"), (("7",), "nothing to advise")):
        toil, target, action = run_of(github, "nothing to advise since sha256:2")
        ended = action.model_copy(update={"advice": (), "told": told})
        assert isinstance(toil.apply(ended, target), Done)
        [comment] = github.comments[7]
        assert expected in comment["body"]
        assert not github.comments[8]
        record = Record({}, [Step(0, 0, ended, StepState.DONE)], NOW)
        assert isinstance(toil.verify(target, record), Verified)
