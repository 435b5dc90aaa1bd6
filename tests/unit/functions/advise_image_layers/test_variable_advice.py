"""ENV and ARG whose values change from build to build, and stand before what does not need them."""

from __future__ import annotations

import pytest

from functions.advise_image_layers.advice import Advice, Findings, advise
from functions.advise_image_layers.rebuild import compare
from tests.unit.functions.advise_image_layers.histories import Entry, copied, image, kit, nop, ran
from tests.unit.functions.advise_image_layers.test_image_advice import LIMITS, NOW

RULE = "variable-before-commands"


def findings(before: list[Entry], now: list[Entry], commits: tuple[set[int], ...] = ()) -> Findings:
    one, other = image(*before, digest="sha256:before"), image(*now)
    return advise(other, compare(one, other), LIMITS, NOW, commits)


def seen(arguments: str, command: str, content: str) -> Entry:
    """A command that sees so many arguments of the build."""
    return (f"|{arguments.count('=')} {arguments} /bin/sh -c {command}", content, 5_000_000)


def environment(value: str, *, builder: str) -> Entry:
    return nop(f"ENV REV={value}") if builder == "classic" else kit(f"ENV REV={value}", "", 0)


def only(found: Findings) -> Advice:
    [one] = found.advice
    return one


@pytest.mark.parametrize(("builder", "layers"), [("classic", 2), ("kit", 1)])
def test_a_variable_of_the_environment_comes_after_what_does_not_read_it(builder: str, layers: int) -> None:
    """The classic builder builds copies after ENV again, too; BuildKit only from the first command on."""

    def build(value: str, content: str) -> list[Entry]:
        copy = copied("/lib", "e") if builder == "classic" else kit("COPY lib /lib", "e")
        layer = content if builder == "classic" else "e"
        return [environment(value, builder=builder), (*copy[:1], layer, copy[2]), ran("make", content)]

    one = only(findings(build("1", "a"), build("2", "b")))
    assert (one.rule, one.asks, one.number) == (RULE, True, 1)
    assert (one.saves_layers, one.saves_bytes) == (layers, layers * 5_000_000)
    assert one.dockerfile.splitlines()[-1] == "ENV REV=2"
    assert "The value of REV changed" in one.text


def test_an_argument_is_known_by_the_commands_that_see_it() -> None:
    before = [nop("ARG REV"), copied("/lib", "e"), seen("REV=a b", "make", "a"), seen("REV=a b", "echo $REV", "c")]
    now = [nop("ARG REV"), copied("/lib", "e"), seen("REV=c", "make", "b"), seen("REV=c", "echo $REV", "d")]
    one = only(findings(before, now))
    assert (one.rule, one.number, one.saves_layers) == (RULE, 1, 1)
    assert one.dockerfile.splitlines()[-3:] == ["RUN make", "ARG REV", "RUN echo $REV"]


def test_of_two_arguments_the_one_that_changed_is_moved() -> None:
    def build(rev: str, content: str) -> list[Entry]:
        both = f"MODE=fast and good REV={rev}"
        return [nop("ARG REV"), nop("ARG MODE"), seen(both, "make", content)]

    one = only(findings(build("1", "a"), build("2", "b")))
    assert (one.number, one.instruction) == (1, "ARG REV")
    assert one.dockerfile.splitlines()[-3:] == ["ARG MODE", "RUN make", "ARG REV"]


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("REV={}", "curl example.org/$REV"),
        ("REV={}", 'sh -c "build ${REV}"'),
        ("REV=v{}.0", "curl example.org/v2.0"),
        ("PATH=/opt/{}", "make"),
        ("A=x REV={}", "echo $REV"),
    ],
)
def test_what_names_the_variable_or_has_its_value_needs_it(variable: str, command: str) -> None:
    before = [nop(f"ENV {variable.format(1)}"), ran(command, "a")]
    assert findings(before, [nop(f"ENV {variable.format(2)}"), ran(command, "b")]).advice == ()


def test_a_name_within_a_longer_one_is_another() -> None:
    one = only(findings([nop("ENV REV=1"), ran("$REVISION", "a")], [nop("ENV REV=2"), ran("$REVISION", "b")]))
    assert one.rule == RULE


def test_a_variable_that_another_is_made_of_stays_before_it() -> None:
    """History has the value of `ENV FULL=app-$REV`: the variables stay in their order."""

    def build(rev: str, content: str) -> list[Entry]:
        return [nop(f"ENV REV={rev}"), nop(f"ENV FULL=app-{rev}"), ran("make", content)]

    one = only(findings(build("100", "a"), build("200", "b")))
    assert one.dockerfile.splitlines()[-3:] == ["RUN make", "ENV REV=200", "ENV FULL=app-200"]


def test_other_names_are_an_edit_and_get_no_proposal() -> None:
    before = image(nop("ENV REV=1"), ran("make", "a"))
    found = compare(before, image(nop("ENV REVISION=1"), ran("make", "b")))
    assert found is not None
    assert found.edited
    assert not found.volatile


def test_a_copy_that_changed_before_it_is_the_cause() -> None:
    before = [copied("/app", "a"), nop("ENV REV=1"), copied("/lib", "c"), ran("make", "e")]
    now = [copied("/app", "b"), nop("ENV REV=2"), copied("/lib", "c"), ran("make", "f")]
    one = only(findings(before, now))
    assert one.rule == "volatile-before-commands"
    assert one.dockerfile.splitlines()[-2:] == ["COPY <file:bbbbbbbbbbbb> /app", "ENV REV=2"]


def test_commits_tell_nothing_of_variables_so_that_they_are_asked_as_well() -> None:
    before = [nop("ENV REV=1"), copied("/app", "a"), copied("/lib", "c"), ran("make", "e")]
    now = [nop("ENV REV=2"), copied("/app", "a"), copied("/lib", "c"), ran("make", "f")]
    found = findings(before, now, commits=({1}, {1}))
    assert [one.rule for one in found.advice if one.rule == RULE] == [RULE]
