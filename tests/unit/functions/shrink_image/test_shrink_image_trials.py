"""What a trial shows, and when a tag is put, left alone, or taken back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from functions.shrink_image import app
from functions.shrink_image.actions import offered, result, ticket_text
from functions.shrink_image.settings import Settings, Trial
from paydown.clients.docker_builds import Cannot, Ran
from paydown.errors import RetryableError
from paydown.inventory import Inventory
from paydown.plan import Done, Moot, NotYet, Record, Step, StepState, Unverified, Verified
from paydown.toil import Scene
from tests.unit.functions.shrink_image.layers import FakeRegistry, layer
from tests.unit.functions.shrink_image.scenes import (
    INVENTORY,
    NAME,
    NOW,
    SMALL,
    TRIALS,
    FakeHost,
    push,
    scene,
    toil_of,
    trial_of,
)


@pytest.mark.parametrize(
    ("smaller", "said"),
    [
        (Ran(1, b"1.4\n", b"no file\n"), "exit code 0, then 1; line 1 of standard error: “(nothing)”, then “no file”"),
        (Ran(0, b"1.5\n"), "line 1 of standard output: “1.4”, then “1.5”"),
        (Ran(0, b"1.4\n", b"careful\n"), "line 1 of standard error"),
        (Ran(None, b"1.4\n"), "exit code 0, then none in time"),
        (Cannot("exec: no such file"), "it cannot be started (exec: no such file)"),
    ],
)
def test_what_differs_gets_no_tag(registry: FakeRegistry, host: FakeHost, smaller: Ran | Cannot, said: str) -> None:
    host.says = lambda image, words: smaller if image == "smaller" else Ran(0, b"1.4\n")
    assert said in trial_of(registry)


@pytest.mark.parametrize(
    ("original", "said"),
    [
        (Ran(0, b"x", cut=True), "writes more than can be compared"),
        (Cannot("no such file"), "cannot be started"),
    ],
)
def test_an_original_that_shows_nothing(
    registry: FakeRegistry, host: FakeHost, original: Ran | Cannot, said: str
) -> None:
    host.says = lambda image, words: original
    assert said in trial_of(registry)


@pytest.mark.parametrize(
    ("ran", "said"),
    [
        (Ran(None, b"ready\n", b"a\n"), "both still ran after 2 s, and had written the same 8 bytes."),
        (Ran(None), "both still ran after 2 s, and had written nothing."),
    ],
)
def test_a_service_is_offered_for_what_it_wrote_so_far(
    registry: FakeRegistry, host: FakeHost, ran: Ran, said: str
) -> None:
    host.says = lambda image, words: ran
    toil, target, offer, proposal = scene(registry)
    done = toil.apply(offer, target)
    assert isinstance(done, Done)
    assert done.evidence["alive"] == [f"With ['--version'] {said}"]
    steps = [Step(0, 0, offer, StepState.DONE, done.evidence), Step(1, 1, proposal, StepState.DONE)]
    seen = toil.verify(target, Record({}, steps, NOW))
    assert isinstance(seen, Verified)
    assert seen.evidence["trial"].endswith(f"it is offered as {offer.object}. With ['--version'] {said}")


@pytest.mark.parametrize(
    ("smaller", "said"),
    [
        (Ran(1, b"ready\n", b"no file\n"), "exit code none in time, then 1"),
        (Ran(None, b"ready?\n"), "line 1 of standard output: “ready”, then “ready?”"),
        (Ran(None), "line 1 of standard output: “ready”, then “(nothing)”"),
    ],
)
def test_a_service_that_behaves_otherwise_is_not(
    registry: FakeRegistry, host: FakeHost, smaller: Ran, said: str
) -> None:
    host.says = lambda image, words: smaller if image == "smaller" else Ran(None, b"ready\n")
    assert said in trial_of(registry)


def test_an_original_that_differs_from_itself(registry: FakeRegistry, host: FakeHost) -> None:
    host.says = lambda image, words: Ran(0, str(len(host.ran)).encode())
    assert "the original itself differs from run to run" in trial_of(registry)


def test_hostile_output_is_told_in_one_bounded_line(registry: FakeRegistry, host: FakeHost) -> None:
    bad = b"\x1b[31m\xe2\x80\xae" + b"A" * 5_000 + b"\nmore"
    host.says = lambda image, words: Ran(0, bad if image == "smaller" else b"")
    told = trial_of(registry)
    assert len(told) < 500
    assert not {"\x1b", "\u202e", "\n"} & set(told)


def test_without_an_entrypoint_the_program_stays_the_first_word(registry: FakeRegistry, host: FakeHost) -> None:
    push(registry, Entrypoint=None, Cmd=["/usr/bin/app", "serve"])
    toil, target = toil_of(trials=[{"image": "*", "commands": [[], ["-x"]]}])
    [[offer], _] = toil.plan(target).stages
    assert isinstance(toil.apply(offer, target), Done)
    assert [words for _, words in host.ran] == [None, None, ["/usr/bin/app", "-x"], ["/usr/bin/app", "-x"]]


def test_a_tag_that_came_meanwhile_is_not_replaced(registry: FakeRegistry, host: FakeHost) -> None:
    toil, target, offer, _ = scene(registry)
    other = registry.push(SMALL, [layer({"x": b""})])
    assert toil.apply(offer, target) == Moot(f"an image is never replaced: {NAME}:{SMALL} is there")
    assert not host.ran
    del registry.manifests[SMALL]

    def slow(image: str, words: Sequence[str] | None) -> Ran:
        registry.manifests[SMALL] = registry.manifests[other]
        return Ran(0)

    host.says = slow
    assert isinstance(toil.apply(offer, target), Moot)
    assert registry.manifests[SMALL].digest == other


def test_a_worker_that_has_only_the_plan(registry: FakeRegistry, host: FakeHost) -> None:
    _, target, offer, _ = scene(registry)
    fresh, *_ = scene(registry)
    fresh._last = None
    assert isinstance(fresh.apply(offer, target), Done)
    assert registry.written == [SMALL]
    assert fresh.apply(offer, target) == Moot("it is offered already")


def test_what_took_long_to_read_again_is_tried_in_the_next_call(
    registry: FakeRegistry, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, target, offer, _ = scene(registry)
    fresh._last = None
    monkeypatch.setattr(app, "AT_ONCE_SECONDS", -1.0)
    again = NotYet(NOW + timedelta(seconds=1), "the original was read again, and is tried next")
    assert fresh.apply(offer, target) == again
    assert not host.ran
    assert isinstance(fresh.apply(offer, target), Done)
    assert registry.written == [SMALL]


def test_what_could_not_be_read_again_in_time_is_tried_again(
    registry: FakeRegistry, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, target, offer, _ = scene(registry)
    fresh._last = None
    monkeypatch.setattr(app, "READ_SECONDS", 0.0)
    with pytest.raises(RetryableError, match="was not read again"):
        fresh.apply(offer, target)


def test_what_changed_meanwhile_is_not_offered(registry: FakeRegistry, host: FakeHost) -> None:
    toil, target, offer, _ = scene(registry)
    toil._last = None
    for changed in ({"image_id": "sha256:other"}, {"host": "h2"}, {"digest": "sha256:gone"}):
        found = toil.apply(offer.model_copy(update=changed), target)
        assert isinstance(found, Done)
        assert found.evidence["offered"] is False
    assert not registry.written


def test_a_tag_that_went_away_is_no_success(registry: FakeRegistry, host: FakeHost) -> None:
    toil, target, offer, proposal = scene(registry)
    done = toil.apply(offer, target)
    assert isinstance(done, Done)
    steps = [Step(0, 0, offer, StepState.DONE, done.evidence), Step(1, 1, proposal, StepState.DONE)]
    assert isinstance(toil.verify(target, Record({}, steps, NOW)), Verified)
    del registry.manifests[SMALL]
    assert isinstance(toil.verify(target, Record({}, steps, NOW)), Unverified)


def test_what_is_taken_back(registry: FakeRegistry, host: FakeHost) -> None:
    toil, target, offer, proposal = scene(registry)
    assert isinstance(toil.undo(proposal, target), Moot)
    assert toil.undo(offer, target) == Moot("the tag does not lead to what was offered any more")
    toil.apply(offer, target)
    registry.manifests["stable"] = registry.manifests[SMALL]
    assert toil.undo(offer, target) == Moot("another tag may lead to it")
    del registry.manifests["stable"]
    assert toil.undo(offer, target) == Done({"tag": f"{NAME}:{SMALL}"})
    assert registry.deleted == [offer.manifest]


def test_what_was_promoted_is_not_taken_back(registry: FakeRegistry, host: FakeHost) -> None:
    toil, target, offer, _ = scene(registry)
    toil.apply(offer, target)
    promotion = {"stage": "production", "repository": "x", "digest": offer.manifest}
    inventory = Inventory.parse({**INVENTORY, "promotions": [promotion]})
    toil.scene = Scene(**{**vars(toil.scene), "inventory": inventory})
    assert toil.undo(offer, target) == Moot("it was promoted meanwhile")
    assert not registry.deleted


def test_what_a_step_says_after_an_interruption(registry: FakeRegistry) -> None:
    _, _, offer, proposal = scene(registry)
    done = Step(0, 0, offer, StepState.DONE, why="before an interruption (it is offered already)")
    never = Step(0, 0, offer, StepState.DONE, why="before an interruption (an image is never replaced: x is there)")
    assert (offered(done), offered(never)) == (True, False)
    assert result([Step(0, 0, offer), Step(1, 0, proposal, StepState.DONE)]) == ""


def test_a_long_dockerfile_stays_out_of_the_ticket(registry: FakeRegistry) -> None:
    *_, proposal = scene(registry)
    text = ticket_text(proposal.model_copy(update={"dockerfile": "COPY x y\n" * 3_000}), "It is not offered.")
    assert len(text) < 18_000
    assert "COPY x y" not in text
    assert "It is not offered." in text


@pytest.mark.parametrize("tag", ["{tag}", "small", "{tag}/x", "{other}", ""])
def test_tags_that_would_take_anothers_place(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        Settings(tag=tag)


def test_trials_end_in_time() -> None:
    with pytest.raises(ValueError, match="together that may take 10 seconds"):
        Trial(image="*", commands=((), ("-x",)), seconds=3)
    assert Settings.model_validate({"trials": TRIALS}).trial("elsewhere/x").commands == ()
