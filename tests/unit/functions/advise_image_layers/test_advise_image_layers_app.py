"""A push becomes advice, in the plan of a run and in a ticket."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.advise_image_layers import app
from functions.advise_image_layers.app import AdviseImageLayers, PublishAdvice, Settings, ticket_text
from paydown.errors import PermanentError
from paydown.events import ImagePushed
from paydown.inventory import Inventory, Tag
from paydown.ledger import Ledger, Outcome, Run
from paydown.plan import Done, Draft, Plan, Record, Step, StepState, Unverified, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from paydown.toil.worker import Worker
from tests.unit.functions.advise_image_layers.fake_registry import FakeRegistry
from tests.unit.functions.advise_image_layers.histories import Entry, copied, nop
from tests.unit.functions.report_outcome.fake_tickets import Tickets
from tests.unit.functions.shrink_image.layers import layer
from tests.unit.ledgers import ledger_in_moto

NOW = datetime(2026, 1, 15, tzinfo=UTC)
SAMPLE = json.loads((Path(__file__).parents[4] / "events/advise_image_layers/image_pushed.json").read_text())
INVENTORY = {
    "registries": [
        {"uid": "r1", "name": "images.example.org", "url": "https://images.example.org", "repositories": ["shop/*"]}
    ],
    "trackers": [
        {"uid": "t1", "name": "helpdesk", "system": "roundup", "url": "https://t.example.org/t/", "secret": "s"}
    ],
}
FROZEN = ("/bin/sh -c apt-get -y upgrade", "u", 1)
ENFORCE = {"mode": "enforce", "ceiling": "none", "cool_down_seconds": 0}


def push(number: int = 1, tag: str = "current") -> ImagePushed:
    detail = {**SAMPLE["detail"], "key": f"registry:{number}", "tag": tag}
    return ImagePushed.from_detail(detail)


def version(app_content: str, lib: str = "b") -> list[Entry]:
    return [copied("/app", app_content), (copied("/lib", "b")[0], f"l{lib}", 5_000_000)]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    made = FakeRegistry()
    monkeypatch.setattr(app, "open_registry", lambda registry, secret: made)
    return made


@pytest.fixture
def tickets(monkeypatch: pytest.MonkeyPatch) -> Tickets:
    made = Tickets()
    monkeypatch.setattr(app, "open_tracker", lambda tracker, secret: made)
    return made


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with ledger_in_moto() as made:
        made.inventory.publish(INVENTORY, "test", NOW)
        monkeypatch.setattr(app, "open_ledger", lambda: made)
        yield made


Work = Callable[..., Run]


@pytest.fixture
def work(ledger: Ledger, registry: FakeRegistry) -> Work:
    """What becomes of an event that the deployed function gets."""
    clock = [NOW]

    def handle(event: ImagePushed, observing: bool = False, **settings: Any) -> Run:
        ledger.policy.publish({"toils": {"advise_image_layers": {**ENFORCE, "settings": settings}}}, "test", clock[0])
        clock[0] += timedelta(minutes=1)
        worker = Worker(
            toil=AdviseImageLayers,
            ledger=ledger,
            observing=observing,
            send=lambda toil, bodies: None,
            report=lambda run, error: None,
            now=lambda: clock[0],
            deadline=clock[0] + timedelta(seconds=58),
        )
        [run] = worker.handle({**SAMPLE, "detail": event.model_dump(mode="json")})
        return run

    return handle


def action_of(ledger: Ledger, run: Run) -> PublishAdvice:
    [step] = ledger.journal.read(run, run.plan_number, {"publish_advice": PublishAdvice})
    assert isinstance(step.action, PublishAdvice)
    return step.action


def test_the_target_is_the_tag() -> None:
    inventory = Inventory.parse(INVENTORY)
    [found] = AdviseImageLayers.targets(push(), inventory)
    assert found.ref == "tag/images.example.org/shop/web:current"
    assert inventory.find(found.ref) == found
    assert isinstance(found, Tag)
    assert found.tag == "current"
    event = push()
    for other in (
        event.model_copy(update={"tag": None}),
        event.model_copy(update={"repository": "other/web"}),
        event.model_copy(update={"registry": "elsewhere"}),
    ):
        assert list(AdviseImageLayers.targets(other, inventory)) == []


def test_tags_with_long_names_are_told_apart() -> None:
    registries = [{"uid": "r", "name": "r.example", "url": "https://r.example"}]
    inventory = Inventory.parse({"registries": registries})
    found = [inventory.tag("r.example", "a" * 120, f"{'b' * 120}{number}") for number in range(2)]
    assert all(one is not None and inventory.find(one.ref) == one for one in found)
    assert len({one.uid for one in found if one}) == 2
    assert inventory.tag("r.example", "a", "") is None


def test_the_second_push_is_compared_with_the_first(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    first = registry.push("current", version("a"))
    run = work(push(1))
    assert (run.status, run.reasons[0].text) == (Outcome.SKIPPED, "nothing to advise")
    second = registry.push("current", version("c", "d"))
    run = work(push(2))
    assert run.status == Outcome.VERIFIED
    action = action_of(ledger, run)
    assert (action.compared, action.digest) == (first, second)
    assert [one.rule for one in action.advice] == ["volatile-before-stable"]
    assert "2 layers (10.0 MB) were built again, from here on:\n  COPY <file:cccccccccccc> /app" in action.text
    assert "makes 2 layers (10.0 MB); with the proposed Dockerfile 1 layers (5.0 MB)." in action.text
    assert run.evidence["saves_bytes"] == 5_000_000
    assert {
        key: run.before[key] for key in ("layers_rebuilt", "bytes_rebuilt", "layers_proposed", "bytes_proposed")
    } == {
        "layers_rebuilt": 2,
        "bytes_rebuilt": 10_000_000,
        "layers_proposed": 1,
        "bytes_proposed": 5_000_000,
    }


def test_observing_advises_too(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    registry.push("current", version("a"))
    work(push(1), observing=True)
    registry.push("current", version("c", "d"))
    run = work(push(2), observing=True)
    assert run.status == Outcome.OBSERVED
    assert action_of(ledger, run).dockerfile.endswith("/app\n")


def test_an_image_is_looked_at_once(work: Work, registry: FakeRegistry) -> None:
    registry.push("current", [*version("a"), FROZEN])
    assert work(push(1), max_upgrade_age_days=1).status == Outcome.VERIFIED
    for number in (2, 3):
        run = work(push(number), max_upgrade_age_days=1)
        assert (run.status, run.reasons[0].text) == (Outcome.SKIPPED, "this image was looked at already")


def test_an_image_is_looked_at_anew_under_other_settings(work: Work, registry: FakeRegistry) -> None:
    registry.push("current", [*version("a"), FROZEN])
    assert work(push(1), max_upgrade_age_days=1).status == Outcome.VERIFIED
    assert work(push(2), max_upgrade_age_days=1, deep_look=True).status == Outcome.VERIFIED
    run = work(push(3), max_upgrade_age_days=100)
    assert (run.status, run.reasons[0].text) == (Outcome.SKIPPED, "nothing to advise")


def test_who_observed_or_failed_told_nobody(
    work: Work, registry: FakeRegistry, ledger: Ledger, tickets: Tickets
) -> None:
    registry.push("current", [*version("a"), FROZEN])
    settings = {"max_upgrade_age_days": 1, "tracker": "helpdesk"}
    assert work(push(1), observing=True, **settings).status == Outcome.OBSERVED
    tickets.trouble = PermanentError("no")
    assert work(push(2), **settings).status == Outcome.FAILED
    tickets.trouble = None
    assert work(push(3), **settings).status == Outcome.VERIFIED
    assert len(tickets.made) == 1


def test_advice_that_holds_no_more_is_ended_once(
    work: Work, registry: FakeRegistry, ledger: Ledger, tickets: Tickets
) -> None:
    settings = {"max_upgrade_age_days": 1, "tracker": "helpdesk"}
    registry.push("current", [*version("a"), FROZEN])
    work(push(1), **settings)
    assert "frozen-upgrade" in tickets.of("100")[0]
    tickets.resolved.add("100")
    digest = registry.push("current", [*version("a"), copied("/x", "d", 1)])
    run = work(push(2), **settings)
    assert (run.status, run.evidence["advice"]) == (Outcome.VERIFIED, [])
    [text] = tickets.of("100")
    assert f"nothing to advise since {digest}" in text
    assert "frozen-upgrade" not in text
    assert tickets.resolved == {"100"}, "what a person closed is not opened for this"
    writes = tickets.writes
    registry.push("current", [*version("a"), copied("/x", "e", 1)])
    run = work(push(3), **settings)
    assert (run.status, run.reasons[0].text) == (Outcome.SKIPPED, "nothing to advise")
    assert tickets.writes == writes


def test_the_image_before_may_be_gone(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    gone = registry.push("current", [nop("ENV A=b"), *version("a")])
    work(push(1))
    del registry.manifests[gone]
    registry.push("current", version("c", "d"))
    run = work(push(2))
    assert (run.status, run.evidence["compared"]) == (Outcome.SKIPPED, "")


def test_without_memory_a_sibling_is_the_one_before(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    registry.push("1.9", [copied("/other", "e")])
    near = registry.push("1.10", [copied("/base", "f"), *version("a")])
    registry.push("1.11", [copied("/base", "f"), *version("c", "d")])
    run = work(push(1, "1.11"))
    assert action_of(ledger, run).compared == near
    assert registry.asked.index("1.10") < registry.asked.index("1.9")


def test_of_an_index_the_platform_is_looked_at(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    frozen = [("/bin/sh -c apt-get -y upgrade", "u", 1)]
    children = {"unknown/unknown": registry.image([]), "linux/arm64": registry.image(version("a"))}
    registry.index("current", {**children, "linux/amd64": registry.image(frozen)})
    run = work(push(1), max_upgrade_age_days=1)
    assert [one.rule for one in action_of(ledger, run).advice] == ["frozen-upgrade"]
    registry.index("current", {**children, "linux/s390x": registry.image(frozen)})
    assert work(push(2)).status == Outcome.SKIPPED


def test_what_is_gone_or_no_image_is_skipped(work: Work, registry: FakeRegistry) -> None:
    assert work(push(1)).reasons[0].text == "the image is gone"
    registry.index("current", {})
    assert work(push(2)).reasons[0].text == "no advice on this image: it is an index without an image"


def test_one_ticket_for_each_tag(work: Work, registry: FakeRegistry, ledger: Ledger, tickets: Tickets) -> None:
    registry.push("current", version("a"))
    work(push(1), tracker="helpdesk")
    assert not tickets.made
    for number, content in enumerate("cd", 2):
        registry.push("current", version(content, content))
        run = work(push(number), tracker="helpdesk")
        assert (run.status, run.evidence["ticket"]) == (Outcome.VERIFIED, "100")
    [(title, _)] = tickets.made.values()
    assert title == "Paydown: advice on images.example.org/shop/web:current"
    [text] = tickets.of("100")
    assert text == ticket_text(action_of(ledger, run))
    assert "Proposed Dockerfile:" in text


def scene(registry: FakeRegistry, **settings: Any) -> tuple[AdviseImageLayers, Tag, Record]:
    """A run that has published advice."""
    inventory = Inventory.parse(INVENTORY)
    made = AdviseImageLayers(
        Scene(
            run_id="r",
            event=push(),
            inventory=inventory,
            policy=Policy(),
            settings=Settings(**settings),
            observing=False,
            now=lambda: NOW,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
    )
    [target] = AdviseImageLayers.targets(push(), inventory)
    registry.push("current", [*version("a"), ("/bin/sh -c apk upgrade", "u", 1)])
    draft = made.plan(target)
    assert isinstance(draft, Draft)
    [action] = Plan.from_draft(draft).actions
    return made, target, Record(draft.before, [Step(0, 0, action, StepState.DONE)], NOW)


def test_a_ticket_that_lacks_the_advice_is_no_success(ledger: Ledger, registry: FakeRegistry, tickets: Tickets) -> None:
    toil, target, record = scene(registry, tracker="helpdesk", max_upgrade_age_days=0)
    assert isinstance(toil.verify(target, record), Unverified)
    assert isinstance(toil.apply(record.steps[0].action, target), Done)
    assert isinstance(toil.verify(target, record), Verified)
    tickets.comments = dict.fromkeys(tickets.comments, "somebody wrote over it")
    assert isinstance(toil.verify(target, record), Unverified)


def test_a_tracker_that_is_not_declared(ledger: Ledger, registry: FakeRegistry) -> None:
    toil, target, record = scene(registry, tracker="nowhere", max_upgrade_age_days=0)
    with pytest.raises(PermanentError, match="no tracker nowhere"):
        toil.apply(record.steps[0].action, target)


def test_a_long_dockerfile_stays_out_of_the_ticket(ledger: Ledger, registry: FakeRegistry) -> None:
    _, _, record = scene(registry, max_upgrade_age_days=0)
    action = record.steps[0].action
    assert isinstance(action, PublishAdvice)
    long = action.model_copy(update={"dockerfile": "RUN x\n" * 5_000})
    assert len(ticket_text(long)) < 18_000
    assert "RUN x" not in ticket_text(long)


def test_layers_are_looked_into_only_if_asked(work: Work, registry: FakeRegistry, ledger: Ledger) -> None:
    lists = layer({"var/lib/apt/lists/main": b"x" * 2_000_000})
    registry.built("current", [("RUN /bin/sh -c apt-get update # buildkit", lists)])
    run = work(push(1))
    assert (run.reasons[0].text, registry.streamed) == ("nothing to advise", [])
    registry.built("other", [("RUN /bin/sh -c apt-get update # buildkit", lists)])
    run = work(push(2, "other"), deep_look=True)
    assert (run.status, len(registry.streamed)) == (Outcome.VERIFIED, 1)
    action = action_of(ledger, run)
    assert [one.rule for one in action.advice] == ["package-lists-left"]
    assert "Looked into 1 layers of its own Dockerfile (2.0 MB were read)." in action.text
    assert (run.before["layers_looked_into"], run.before["layer_bytes_fetched"]) == (1, len(lists))


def test_what_was_not_looked_into_is_booked_without_advice(
    work: Work, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    registry.built("current", [("COPY a /a # buildkit", b"\x28\xb5\x2f\xfd" + bytes(600))])
    run = work(push(1), deep_look=True)
    assert run.reasons[0].text == "nothing to advise"
    assert "zstd" in {**run.before, **run.evidence}["not_looked_into"]


def test_the_fingerprint_is_of_the_advice(ledger: Ledger, registry: FakeRegistry) -> None:
    _, _, record = scene(registry, max_upgrade_age_days=0)
    action = record.steps[0].action
    again = replace(Plan(((action,),)), before={"other": 1})
    assert again.fingerprint == Plan(((action,),)).fingerprint
    assert action.precondition.startswith("advice ")
