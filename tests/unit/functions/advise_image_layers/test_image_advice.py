"""What two images tell of a rebuild, and what is advised."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from functions.advise_image_layers.advice import Advice, Findings, Limits, advise
from functions.advise_image_layers.image import Image
from functions.advise_image_layers.order import Cost
from functions.advise_image_layers.rebuild import Rebuild, compare
from paydown.clients.frozen import upgrades
from tests.unit.functions.advise_image_layers.histories import Entry, copied, image, kit, nop, ran

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(saving_bytes=1_000_000, saving_layers=2, upgrade_age=timedelta(days=30))
BASE = [copied("/", "e"), nop('CMD ["bash"]')]


def findings(before: list[Entry], now: list[Entry], limits: Limits = LIMITS) -> Findings:
    one, other = image(*before, digest="sha256:before"), image(*now)
    return advise(other, compare(one, other), limits, NOW)


def alone(*entries: Entry, **config: object) -> list[Advice]:
    return list(advise(image(*entries, **config), None, LIMITS, NOW).advice)


def test_the_first_change_and_everything_after_it() -> None:
    before = image(copied("/a", "a", 1), copied("/b", "b", 2), copied("/c", "c", 4), digest="sha256:before")
    now = image(copied("/a", "a", 1), copied("/b", "d", 2), ("x" + copied("/c", "c")[0], "f", 4))
    found = compare(before, now)
    assert found is not None
    assert (found.first, found.layers, found.size) == (1, 2, 6)


def test_the_same_layers_are_no_rebuild() -> None:
    one = image(copied("/a", "a"), nop("ENV A=b"))
    assert compare(one, image(copied("/a", "a"), nop("ENV A=c"))) is None


def test_an_instruction_without_a_layer_can_be_the_first() -> None:
    before = image(nop("USER 1"), ran("make", "a"))
    assert compare(before, image(nop("USER 2"), ran("make", "b"))) == Rebuild(0, 1, 5_000_000, edited=True)


def test_another_base_is_no_fault_of_the_dockerfile() -> None:
    found = compare(image(*BASE, copied("/a", "a")), image(copied("/", "f"), BASE[1], copied("/a", "b")))
    assert found is not None
    assert found.base
    assert not found.volatile


def test_what_changed_comes_last() -> None:
    said = findings(
        [copied("/app", "a"), copied("/lib", "b")], [copied("/app", "c"), (copied("/lib", "b")[0], "d", 5_000_000)]
    )
    [one] = said.advice
    assert (one.rule, one.asks, one.number, one.saves_bytes, one.saves_layers) == (
        "volatile-before-stable",
        False,
        1,
        5_000_000,
        1,
    )
    assert said.dockerfile.splitlines()[2:] == [
        "FROM scratch",
        "COPY <file:bbbbbbbbbbbb> /lib",
        "COPY <file:cccccccccccc> /app",
    ]
    assert said.costs == (Cost(2, 10_000_000), Cost(1, 5_000_000))


def test_small_savings_stay_silent() -> None:
    said = findings(
        [copied("/app", "a"), copied("/lib", "b", 999_999)], [copied("/app", "c"), copied("/lib", "b", 999_999)]
    )
    assert said == Findings(())


def test_what_changed_too_stays_after_it() -> None:
    before = [copied("/a", "a"), copied("/b", "b"), copied("/c", "c")]
    said = findings(before, [copied("/a", "d"), copied("/b", "b"), copied("/c", "f")])
    assert said.costs == (Cost(3, 15_000_000), Cost(2, 10_000_000))
    assert [line.rpartition(" ")[2] for line in said.dockerfile.splitlines()[3:]] == ["/b", "/a", "/c"]


@pytest.mark.parametrize(
    ("moved", "other"),
    [("/app", "/app/conf"), ("/app/", "/app"), ("/app/conf", "/app"), ("/", "/lib"), ("/a/b", "/a/c")],
)
def test_targets_that_touch_do_not_change_places_unasked(moved: str, other: str) -> None:
    said = findings([copied(moved, "a"), copied(other, "b")], [copied(moved, "c"), copied(other, "b")])
    assert all(one.asks for one in said.advice)
    assert said.dockerfile == ""


def test_a_folder_that_is_there_already_has_its_owner() -> None:
    before = [nop("WORKDIR /srv/x"), copied("/srv/a", "a"), copied("/srv/b", "b")]
    said = findings(before, [before[0], copied("/srv/a", "c"), before[2]])
    assert [one.rule for one in said.advice] == ["volatile-before-stable"]


def test_a_command_is_asked() -> None:
    said = findings(
        [copied("/app", "a"), ran("apt-get install x", "b")], [copied("/app", "c"), ran("apt-get install x", "d")]
    )
    [one] = said.advice
    assert (one.rule, one.asks, one.saves_bytes) == ("volatile-before-commands", True, 5_000_000)
    assert one.dockerfile.splitlines()[3:] == ["RUN apt-get install x", "COPY <file:cccccccccccc> /app"]
    assert said.dockerfile == ""


@pytest.mark.parametrize("command", ["sh /app/setup", "cd / && ./app", "python -m app.main"])
def test_a_command_that_names_it_is_not_asked(command: str) -> None:
    said = findings([copied("/app", "a"), ran(command, "b")], [copied("/app", "c"), ran(command, "d")])
    assert said.advice == ()


def test_a_command_in_its_folder_is_not_asked() -> None:
    before = [nop("WORKDIR /srv"), copied("/srv/", "a"), ran("make", "b")]
    assert findings(before, [before[0], copied("/srv/", "c"), ran("make", "d")]).advice == ()


def test_buildkit_tells_only_the_first() -> None:
    before = [kit("COPY app /app", "a"), kit("COPY lib /lib", "b")]
    said = findings(before, [kit("COPY app /app", "c"), kit("COPY lib /lib", "b")])
    assert said.dockerfile.splitlines()[1:] == ["FROM scratch", "COPY lib /lib", "COPY app /app"]


def test_an_edited_dockerfile_tells_nothing_of_order() -> None:
    before = [copied("/app", "a"), copied("/lib", "b")]
    assert findings(before, [copied("/new", "c"), copied("/lib", "b")]).advice == ()


def test_commands_in_a_row() -> None:
    said = advise(
        image(ran("a", "1"), ran("b; c", "2"), ran("d", "3"), copied("/x", "a"), ran("e", "4")), None, LIMITS, NOW
    )
    [one] = said.advice
    assert (one.rule, one.asks, one.saves_layers, one.number) == ("merge-run", False, 2, 1)
    assert "RUN ( a ) \\\n && ( b; c ) \\\n && ( d )\n" in said.dockerfile


@pytest.mark.parametrize("command", ["a # b", "a \\", "cat <<X", '["/x"]'])
def test_commands_that_cannot_stand_in_brackets(command: str) -> None:
    assert alone(ran("a", "1"), ran("b", "2"), ran(command, "3")) == []


def test_copies_to_one_folder() -> None:
    [one] = alone(copied("/x/", "a"), copied("/x/", "b"), copied("/x/", "c"))
    assert (one.rule, one.asks, one.saves_layers) == ("merge-copy", True, 2)
    assert one.dockerfile.splitlines()[-1] == "COPY <file:aaaaaaaaaaaa> <file:bbbbbbbbbbbb> <file:cccccccccccc> /x/"


def test_copies_with_names_of_their_own_stay_apart() -> None:
    assert alone(copied("/x", "a"), copied("/x", "b"), copied("/x", "c")) == []


@pytest.mark.parametrize(
    ("said", "asked"),
    [("ADD a.conf /etc/", True), ("ADD a.tar.gz /", False), ("ADD https://x.example/a /a", False), ("COPY a /", False)],
)
def test_add_where_copy_would_do(said: str, asked: bool) -> None:
    assert [one.rule for one in alone(kit(said, "a"))] == ["add-for-copy"] * asked


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("debian", True),
        ("r.example:5000/debian", True),
        ("debian:latest", True),
        ("debian:12", False),
        ("r.example:5000/debian:12", False),
        ("debian@sha256:00", False),
        ("scratch", False),
    ],
)
def test_a_base_that_floats(name: str, said: bool) -> None:
    labels = {"org.opencontainers.image.base.name": name, "org.opencontainers.image.base.digest": "sha256:11"}
    found = alone(copied("/a", "a"), Labels=labels)
    assert [one.rule for one in found] == ["floating-base"] * said
    assert all(f"{name}@sha256:11" in one.text for one in found)


def test_an_old_upgrade_is_frozen() -> None:
    [one] = alone(*BASE, ran("apt-get update && apt-get -y upgrade"))
    assert (one.rule, one.number) == ("frozen-upgrade", 1)
    assert "49 days old" in one.text
    young = Limits(1, 1, timedelta(days=50))
    assert advise(image(*BASE, ran("apt-get -y upgrade")), None, young, NOW).advice == ()


def test_what_the_base_did_is_not_ours() -> None:
    theirs = [ran("apt-get upgrade", "1"), ran("apt-get install gcc", "2"), ran("x", "3"), nop('CMD ["sh"]')]
    assert alone(*theirs, copied("/app", "a")) == []


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("apt-get -qq dist-upgrade", True),
        ("apk --no-cache upgrade", True),
        ("yum update -y", True),
        ("apt-get update", False),
    ],
)
def test_upgrades_are_known(command: str, said: bool) -> None:
    assert upgrades(command) == said


def test_hostile_text_takes_no_time() -> None:
    entries = [
        ran(text * (8_000 // len(text)), str(n))
        for n, text in enumerate(["apt-get install ", "|1 a=/sh -x ", "(( ", "-o gcc "])
    ]
    begun = time.process_time()
    alone(*entries, kit("LABEL " + "a=" * 3_000, ""), nop("ENV " + "A= " * 2_000), Labels={"a": ""}, Env=["A="])
    assert time.process_time() - begun < 1


def test_an_image_of_many_instructions_has_bounded_advice() -> None:
    many = [copied(f"/{number}", "a", word="ADD") for number in range(100)]
    made: Image = image(*many)
    assert len(advise(made, None, LIMITS, NOW).advice) == 30
