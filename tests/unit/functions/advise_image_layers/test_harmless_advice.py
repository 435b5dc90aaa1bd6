"""Advice that is no question changes no file: what it must leave in its order, apart, or unsaid."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.advise_image_layers.advice import MOST, UNASKED, Advice, Findings, Limits, advice_of, advise, foremost
from functions.advise_image_layers.rebuild import compare
from functions.advise_image_layers.sources.fitting import fitted
from tests.real.compared import COMPARED
from tests.unit.functions.advise_image_layers.histories import Entry, copied, image, kit, nop, ran

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(saving_bytes=1_000_000, saving_layers=2, upgrade_age=timedelta(days=30))
FUNCTION = Path(__file__).parents[4] / "functions/advise_image_layers"
RULE = re.compile(r'"([a-z]+(?:-[a-z]+)+)"')


def found(before: list[Entry], now: list[Entry], dockerfile: str = "", **config: object) -> Findings:
    """What is advised on a push, with the Dockerfile at hand if there is one."""
    one, other = image(*before, digest="sha256:before", **config), image(*now, **config)
    rebuild = compare(one, other)
    known = fitted(other, dockerfile) if dockerfile else other
    assert known is not None
    return advise(known, rebuild, LIMITS, NOW)


def runs(*commands: str, dockerfile: str = "", **config: object) -> Findings:
    steps = [ran(command, str(number)) for number, command in enumerate(commands)]
    return found(steps, steps, dockerfile, **config)


def test_what_is_no_question_is_compared_file_by_file() -> None:
    """Each rule that asks nobody is one that the tests against real builders compare; and the tests are there."""
    assert set(COMPARED) == UNASKED
    for rule, (module, test) in COMPARED.items():
        text = (Path(__file__).parents[3] / "real" / f"{module}.py").read_text()
        assert f"def {test}(" in text, rule
        assert rule in text, rule


def test_every_other_rule_is_a_question() -> None:
    said = {name for file in FUNCTION.rglob("*.py") for name in RULE.findall(file.read_text())}
    assert said | {"merge-run", "merge-copy", "merge-add"} >= UNASKED
    for rule in ("frozen-upgrade", "dynamic-in-scratch", "hadolint/DL3008", "add-for-copy", "made-up"):
        assert advice_of(rule, "").asks
    assert not any(advice_of(rule, "").asks for rule in UNASKED)
    assert advice_of("merge-run", "", asks=True).asks


def test_a_question_is_worded_as_one() -> None:
    every = found([ran("apk upgrade", "a")], [ran("apk upgrade", "a"), copied("/a", "b", word="ADD")]).advice
    assert {one.rule for one in every} == {"frozen-upgrade", "add-for-copy"}
    assert all(one.asks and "?" in one.text for one in every)


def test_a_relative_copy_stays_before_the_next_working_directory() -> None:
    def steps(app: str) -> list[Entry]:
        return [nop("WORKDIR /one"), copied("./", app), nop("WORKDIR /two"), copied("./", "b")]

    text = "FROM scratch\nWORKDIR /one\nCOPY app {}\nWORKDIR /two\nCOPY lib ./\n"
    for target in ("./", "$HERE/"):
        said = found(steps("a"), steps("c"), text.format(target))
        assert (said.advice, said.dockerfile) == ((), "")
    # An absolute one means the same everywhere, and so do the absolute targets that we write ourselves.
    said = found(steps("a"), steps("c"), text.format("/one/"))
    assert said.dockerfile.splitlines()[1:] == ["WORKDIR /one", "WORKDIR /two", "COPY lib ./", "COPY app /one/"]
    assert found(steps("a"), steps("c")).dockerfile.splitlines()[-1] == "COPY <file:cccccccccccc> /one/"


def test_a_relative_copy_that_is_asked_stays_too() -> None:
    def steps(app: str) -> list[Entry]:
        return [nop("WORKDIR /one"), copied("./x", app), nop("WORKDIR /two"), ran("echo", "1")]

    text = "FROM scratch\nWORKDIR /one\nCOPY app x\nWORKDIR /two\nRUN echo\n"
    assert found(steps("a"), steps("c"), text).advice == ()


def test_a_relative_working_directory_is_known_in_full() -> None:
    def steps(app: str) -> list[Entry]:
        return [nop("WORKDIR /srv"), copied("/srv/in/", app), (nop("WORKDIR in")[0], "w", 1), copied("/lib", "b")]

    [line] = [it for it in found(steps("a"), steps("c")).dockerfile.splitlines() if "WORKDIR in" in it] or [""]
    assert line == "", "the copy would find the folder made"


def test_a_copy_with_a_variable_stays_where_it_has_that_value() -> None:
    def steps(app: str) -> list[Entry]:
        return [nop("ENV V=1"), copied("/app", app), nop("ENV V=2"), copied("/lib", "b")]

    text = "FROM scratch\nENV V=1\nCOPY app{} /app\nENV V=2\nCOPY lib /lib\n"
    assert found(steps("a"), steps("c"), text.format("$V")).dockerfile == ""
    assert found(steps("a"), steps("c"), text.format("")).dockerfile.endswith("ENV V=2\nCOPY lib /lib\nCOPY app /app\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/lib/x", "/usr/lib/"),
        ("/usr/lib64/x", "/lib64"),
        ("/bin/a", "/usr/bin/"),
        ("/sbin/a", "/usr/bin/"),
        ("/var/run/x", "/run/"),
    ],
)
def test_folders_that_are_links_are_one_place(one: str, other: str) -> None:
    steps = [nop("WORKDIR /usr/lib/y"), nop("WORKDIR /lib/y"), nop("WORKDIR /run/y"), nop("WORKDIR /usr/bin/y")]
    steps += [nop("WORKDIR /bin/y"), nop("WORKDIR /var/run/y"), nop("WORKDIR /sbin/y"), nop("WORKDIR /lib64/y")]
    said = found([*steps, copied(one, "a"), copied(other, "b")], [*steps, copied(one, "c"), copied(other, "b")])
    assert (said.advice, said.dockerfile) == ((), "")


def test_a_link_that_a_command_makes_is_asked() -> None:
    for command, asked in (("ln -s /data /srv", True), ("ln -s /data /mnt/x", True), ("ln -s /opt /mnt/x", False)):
        before = [ran(command, "1", 1), copied("/srv/x", "a"), copied("/data/", "b")]
        steps = [nop("WORKDIR /srv"), nop("WORKDIR /data"), *before]
        said = found(steps, [*steps[:3], copied("/srv/x", "c"), steps[4]])
        assert [(one.rule, one.asks) for one in said.advice] == [
            ("volatile-before-commands" if asked else "volatile-before-stable", asked)
        ]


def test_a_copy_stays_before_the_volume_that_holds_it() -> None:
    for volume, moves in (("/data", False), ("/other /data/x", False), ("/other", True)):
        steps = [copied("/data/x/a", "a"), nop(f"VOLUME [{volume}]"), copied("/lib", "b")]
        said = found(steps, [copied("/data/x/a", "c"), *steps[1:]])
        assert bool(said.dockerfile) == moves


@pytest.mark.parametrize(
    "command",
    [
        "set -e; a; b",
        "set -eux && a",
        "set -x -e; a",
        "set -o errexit; a",
        "set -uo pipefail; set -Ee; a",
        "bash -o errexit x",
        "daemon & a",
    ],
)
def test_commands_that_stop_at_a_failure_stay_alone(command: str) -> None:
    assert runs(command, "b", "c").advice == ()
    assert [one.saves_layers for one in runs("b", "c", "d", command).advice] == [2]


@pytest.mark.parametrize("command", ["setx -e", "a 2>&1 && b", "set -ux; a", "a >&2 | b || c", "grep -e x y"])
def test_other_commands_can_be_one(command: str) -> None:
    assert [one.rule for one in runs(command, "b", "c").advice] == ["merge-run"]


@pytest.mark.parametrize(
    ("shell", "merges"),
    [
        (["/bin/bash", "-o", "pipefail", "-c"], True),
        (["/bin/bash", "-euo", "pipefail", "-c"], False),
        (["/bin/bash", "-o", "errexit", "-c"], False),
        (["/bin/sh", "-ec"], False),
        (["pwsh", "-Command"], False),
        (["/usr/bin/fish", "-c"], False),
    ],
)
def test_shells_that_stop_or_are_none(shell: list[str], merges: bool) -> None:
    assert bool(runs("a", "b", "c", Shell=shell).advice) == merges
    said = " ".join(shell)
    steps = [(f"{said} #(nop)  SHELL [{said}]", "", 0), *((f"{said} {name}", name, 9) for name in "abc")]
    assert bool(found(steps, steps).advice) == merges


def test_options_of_buildkit_are_asked_unless_the_dockerfile_is_at_hand() -> None:
    steps = [(f"RUN /bin/sh -c {name} # buildkit", name, 9) for name in "abc"]
    said = found(steps, steps)
    [one] = said.advice
    assert (one.rule, one.asks, said.dockerfile) == ("merge-run", True, "")
    assert "--mount" in one.text
    assert one.dockerfile.splitlines() == [
        "# Images do not record every --chown, --chmod, --from and --mount: put yours.",
        "FROM scratch",
        "RUN ( a ) \\",
        " && ( b ) \\",
        " && ( c )",
    ]
    [one] = found(steps, steps, "FROM scratch\nRUN a\nRUN b\nRUN c\n").advice
    assert not one.asks


def test_what_is_not_told_whole_has_no_dockerfile() -> None:
    long = ran("x" * 9_000, "1")
    said = found([copied("/a", "a"), copied("/b", "b"), long], [copied("/a", "c"), copied("/b", "b"), long])
    assert ({one.dockerfile for one in said.advice}, said.dockerfile) == ({""}, "")
    here = kit("RUN /bin/sh -c a\nb", "1")
    said = found([copied("/a", "a"), copied("/b", "b"), here], [copied("/a", "c"), copied("/b", "b"), here])
    assert ({one.dockerfile for one in said.advice}, said.dockerfile) == ({""}, "")


def test_instructions_after_another_shell_are_known() -> None:
    shell = "/bin/bash -euo pipefail -c"
    [one, two, three] = image(
        (f"{shell} #(nop)  SHELL [{shell}]", "", 0),
        (f"{shell} #(nop) COPY file:{'a' * 64} in /x ", "a", 1),
        (f"|1 V=1 {shell} make", "b", 1),
    ).instructions
    assert [it.word for it in (one, two, three)] == ["SHELL", "COPY", "RUN"]
    assert (two.target, three.rest) == ("/x", "make")


def test_a_label_that_changes_comes_last() -> None:
    """The classic builder builds all that follows again; BuildKit does not ask for labels."""
    after = [copied("/lib", "b"), ran("make", "m")]
    again = [copied("/lib", "b"), ran("make", "n")]
    said = found([nop("LABEL a=1"), *after], [nop("LABEL a=2"), *again], Labels={"a": "2"})
    assert [(one.rule, one.asks, one.saves_bytes) for one in said.advice] == [
        ("volatile-before-stable", False, 10_000_000)
    ]
    assert said.dockerfile.splitlines()[-3:] == ["COPY <file:bbbbbbbbbbbb> /lib", "RUN make", "LABEL a=2"]
    tied = [nop("LABEL a=1"), *after, nop("LABEL b=3 a=3")]
    said = found(tied, [nop("LABEL a=2"), *again, tied[-1]], Labels={"a": "2", "b": "3"})
    assert said.dockerfile.splitlines()[-3:] == ["RUN make", "LABEL a=2", "LABEL b=3 a=3"]
    one = image(kit("LABEL a=1", ""), kit("COPY lib /lib", "1"), kit("COPY app /app", "2"))
    other = image(kit("LABEL a=2", ""), kit("COPY lib /lib", "1"), kit("COPY app /app", "3"))
    rebuild = compare(one, other)
    assert rebuild is not None
    assert (rebuild.first, rebuild.layers) == (2, 1)


def test_what_saves_least_is_left_out_first() -> None:
    many = [Advice(rule=f"hadolint/DL{number}", text="?", asks=True) for number in range(MOST)]
    great = Advice(rule="deleted-later", text="", saves_bytes=9)
    fatal = advice_of("dynamic-in-scratch", "?")
    kept = foremost([*many, great, fatal])
    assert kept == (*many[: MOST - 2], great, fatal)


def test_hostile_text_takes_no_time() -> None:
    texts = ["set ", "set -", "& ", "ln ", "-c ", "--a=b ", "$"]
    entries = [ran(text * (8_000 // len(text)), f"r{n}{number}") for n, text in enumerate(texts) for number in range(6)]
    labels = [nop(f"LABEL {number}" + "a" * 7_900) for number in range(20)]
    copies = [copied("/a" * 2_000, "a"), copied("/b" * 2_000, "b")]
    begun = time.process_time()
    found([nop("LABEL a=1"), *labels, *entries, *copies], [nop("LABEL a=2"), *labels, *entries, *copies])
    assert time.process_time() - begun < 5
