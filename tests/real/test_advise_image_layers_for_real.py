"""Advice against real builders: what is predicted is what the proposed Dockerfile makes, and its files are the same."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import pytest

from tests.real.image_advice import KB, Advise, Images

TOLERANCE = 0.1


@dataclass(frozen=True)
class Case:
    """A Dockerfile, its files by their size in kB, and those that change from build to build.

    `rule` is the advice that saves a rebuild: the Dockerfile that goes with it is built. `also` is what else is said.
    """

    dockerfile: str
    files: dict[str, int]
    touched: tuple[str, ...] = ("app",)
    rule: str = "volatile-before-stable"
    kit: bool = False
    also: tuple[str, ...] = ()


THREE = {"app": 150, "lib": 600, "data": 900}
FOUR = THREE | {"more": 300}
FOLDERS = {"code/a": 100, "code/b/c": 50, "static/x": 500, "static/y": 700}
FIRST = "FROM scratch\nCOPY app /app\nCOPY lib /usr/lib/lib\nCOPY data /srv/data\n"
SECOND = "FROM scratch\nCOPY lib /l/lib\nCOPY app /a/app\nCOPY data /d/data\n"
CODE = "FROM scratch\nCOPY code /code\nCOPY static /srv/static\n"
OWNERS = "FROM scratch\nCOPY --chown=7:8 app /app\nCOPY --chown=9 data lib /d/\n"
STARTED = """FROM scratch
ENV A="b c" D=e
LABEL x="y z" q='"'
COPY app /app
EXPOSE 80 90/udp
COPY data /data
VOLUME /v /w
HEALTHCHECK --interval=5s --retries=2 CMD ["/app", "-x"]
USER 7
ENTRYPOINT ["/app"]
CMD ["-v"]
"""
TOGETHER = "FROM scratch\nCOPY app /app\nCOPY lib /srv/\nCOPY data /srv/\nCOPY more /srv/\n"
COMMAND = "FROM BASE\nCOPY app /app\nRUN dd if=/bin/busybox of=/made bs=1000 count=700\n"
COMMANDS = """FROM BASE
COPY app /app
COPY lib /library
RUN mkdir /t && cd /t && echo a > a
RUN pwd > /t/b
RUN X=1; echo $X; echo $Y > /t/c
"""
ADDED = "FROM scratch\nADD app /app\nADD lib /srv/\nADD data /srv/\nADD more /srv/\n"
PLACES = "FROM scratch\nWORKDIR /one\nCOPY app .\nWORKDIR /two\nCOPY lib data ./\n"
WITHIN = "FROM scratch\nWORKDIR /srv\nCOPY app bin/app\nCOPY lib lib/lib\n"
ASKED = "volatile-before-commands"

CASES = {
    "first": Case(FIRST, THREE),
    "first, BuildKit": Case(FIRST, THREE, kit=True),
    "second": Case(SECOND, THREE),
    "second, BuildKit": Case(SECOND, THREE, kit=True),
    "two change": Case(f"{FIRST}COPY more /m\n", FOUR, ("app", "data")),
    "folders": Case(CODE, FOLDERS, ("code/b/c",)),
    "folders, BuildKit": Case(CODE, FOLDERS, ("code/b/c",), kit=True),
    "added": Case("FROM scratch\nADD app /app\nADD lib data /srv/\n", THREE, also=("add-for-copy",)),
    "working directories": Case(PLACES, THREE),
    "working directory, BuildKit": Case(WITHIN, THREE, kit=True),
    "owners": Case(OWNERS, THREE),
    "owners, BuildKit": Case(OWNERS, THREE, kit=True),
    "what is started": Case(STARTED, THREE),
    "what is started, BuildKit": Case(STARTED, THREE, kit=True),
    "belongs together": Case(TOGETHER, FOUR, also=("merge-copy",)),
    "the same folder, BuildKit": Case("FROM scratch\nCOPY app /s/\nCOPY lib /s/\n", THREE, rule=ASKED, kit=True),
    "before a command": Case(COMMAND, THREE, rule=ASKED),
    "before a command, BuildKit": Case(COMMAND, THREE, rule=ASKED, kit=True),
    "on a base": Case('FROM BASE\nCOPY app /app\nCOPY lib /library\nCMD ["/app"]\n', THREE),
    "commands together": Case(COMMANDS, THREE, also=("merge-run",)),
    "commands together, BuildKit": Case(COMMANDS, THREE, also=("merge-run",), kit=True),
    "added together": Case(ADDED, FOUR, also=("merge-add", "add-for-copy")),
}


def completed(proposed: str, original: str) -> str:
    """The proposed Dockerfile with what an image does not record: options, and the names behind hashes.

    As a person would, by the line of the original that has the same target; anew for each stage.
    """
    said: dict[str, list[tuple[str, list[str]]]] = {}

    def line_of(line: str) -> str:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            said.clear()
            said.update(_copies(original))
        if word not in ("COPY", "ADD") or "--from=" in rest:
            return line
        *shown, target = (one for one in rest.split() if not one.startswith("--"))
        known = [said[target].pop(0) for _ in shown] if "<" in rest else said[target][:1]
        names = [name for _, found in known for name in found] if "<" in rest else shown
        return f"{word} {known[0][0]}{' '.join(names)} {target}"

    return "\n".join(map(line_of, proposed.splitlines())) + "\n"


def _copies(dockerfile: str) -> dict[str, list[tuple[str, list[str]]]]:
    """The options and names of its copies, by their absolute targets."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    folder = ""
    for line in dockerfile.splitlines():
        word, *rest = line.split()
        folder = rest[0] if word == "WORKDIR" else folder
        if word in ("COPY", "ADD"):
            options = "".join(f"{one} " for one in rest if one.startswith("--"))
            *names, target = (one for one in rest if not one.startswith("--"))
            target = target if target.startswith("/") else f"{folder}/{target.removeprefix('.').removeprefix('/')}"
            found.setdefault(target, []).append((options, names))
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_proposed_dockerfile_rebuilds_what_was_predicted(name: str, images: Images, advise: Advise) -> None:
    case = CASES[name]
    dockerfile = case.dockerfile.replace("BASE", images.base)
    builds = images.builds(re.sub(r"\W+", "-", name.lower()), case.kit)
    builds.files = {file: os.urandom(size * KB) for file, size in case.files.items()}
    builds.build(dockerfile)
    before = builds.digest()
    builds.touch(case.touched)
    rebuilt = builds.build(dockerfile)
    action, draft = advise(builds.name, before)

    # What this push rebuilt is what the builder says that it built.
    assert draft.before["layers_rebuilt"] == rebuilt
    assert draft.before["bytes_rebuilt"] == sum(builds.sizes()[-rebuilt:])
    assert action is not None, draft
    assert {one.rule for one in action.advice} == {case.rule, *case.also}
    [advice] = [one for one in action.advice if one.rule == case.rule]
    tree, config = builds.tree(), builds.config()

    proposed = completed(advice.dockerfile or action.dockerfile, case.dockerfile).replace(
        "<your base image>", images.base
    )
    builds.build(proposed, push=False)
    assert builds.tree() == tree
    assert builds.config() == config
    builds.touch(case.touched)
    made = builds.build(proposed)
    size = sum(builds.sizes()[-made:])
    saved = draft.before["bytes_rebuilt"] - size
    merged = sum(one.saves_layers for one in action.advice if one.rule.startswith("merge-") and not one.asks)
    assert rebuilt - made == advice.saves_layers + merged
    assert saved == pytest.approx(advice.saves_bytes, rel=TOLERANCE)
    if not advice.asks:
        assert (made, size) == (
            draft.before["layers_proposed"],
            pytest.approx(draft.before["bytes_proposed"], rel=TOLERANCE),
        )
    layers = len(builds.sizes())
    for one in (one for one in action.advice if one.rule.startswith("merge-") and one.asks):
        asked = completed(one.dockerfile, case.dockerfile).replace("<your base image>", images.base)
        tree = builds.tree()
        builds.build(asked)
        assert (builds.tree(), builds.config()) == (tree, config)
        assert layers - len(builds.sizes()) == one.saves_layers


TOOLS = {
    "apt-get": b"#!/bin/sh\nmkdir -p /usr/lib && dd if=/dev/urandom of=/usr/lib/$3 bs=1000 count=800\n",
    "gcc": b"#!/bin/sh\ncp $3 $2\n",
}
"""Debian's tools are stood in for by scripts: what is proposed must be a Dockerfile that builds."""


def test_a_stage_of_its_own_leaves_the_compiler_behind(images: Images, advise: Advise) -> None:
    base = f"{images.registry.host}/tools:latest"
    tools = images.builds("tools", **TOOLS)
    tools.build(f'FROM {images.base}\nCOPY apt-get gcc /bin/\nCMD ["/bin/sh"]\n')
    builds = images.builds("compiled", **{"a.c": os.urandom(50 * KB), "conf": b"1"})
    commands = "RUN apt-get -y install gcc\nWORKDIR /src\nCOPY a.c /src/\nRUN gcc -o a a.c\nCOPY conf /etc/conf\n"
    original = f'FROM {base}\n{commands}CMD ["/src/a"]\n'
    builds.build(original)
    tree, config, size = builds.tree(), builds.config(), sum(builds.sizes())
    action, _ = advise(builds.name)
    assert action is not None
    [advice] = action.advice
    assert (advice.rule, advice.asks) == ("compiler-left", True)
    builds.build(completed(advice.dockerfile, original).replace("<your base image>", base))
    slim = builds.tree()
    assert {path: slim[path] for path in ("src/a", "etc/conf")} == {path: tree[path] for path in ("src/a", "etc/conf")}
    assert set(tree) - set(slim) == {"src/a.c", "usr", "usr/lib", "usr/lib/gcc"}
    assert builds.config() == config
    assert size - sum(builds.sizes()) == pytest.approx(advice.saves_bytes, rel=TOLERANCE)


def test_a_base_image_with_a_compiler_is_left_behind(images: Images, advise: Advise) -> None:
    base = f"{images.registry.host}/golang:latest"
    kit = images.builds("golang", gcc=TOOLS["gcc"], go=os.urandom(900 * KB))
    kit.build(f'FROM {images.base}\nENV GOLANG_VERSION=1\nCOPY go /usr/go/go\nCOPY gcc /bin/gcc\nCMD ["/bin/sh"]\n')
    builds = images.builds("on-golang", **{"a.c": os.urandom(5 * KB), "conf": b"1"})
    original = f'FROM {base}\nWORKDIR /src\nCOPY a.c /src/\nRUN gcc -o /a a.c\nCOPY conf /etc/conf\nCMD ["/a"]\n'
    builds.build(original)
    tree, size = builds.tree(), sum(builds.sizes())
    action, _ = advise(builds.name)
    assert action is not None
    [advice] = action.advice
    assert (advice.rule, advice.asks) == ("compiler-left", True)
    assert "The base image has go" in advice.text
    proposed = completed(advice.dockerfile, original).replace("<your base image>", base)
    builds.build(proposed.replace("<a base image without the compiler>", images.base))
    slim = builds.tree()
    assert {path: slim[path] for path in ("a", "etc/conf")} == {path: tree[path] for path in ("a", "etc/conf")}
    assert set(tree) - set(slim) == {"src/a.c", "bin/gcc", "usr", "usr/go", "usr/go/go"}
    assert size - sum(builds.sizes()) == pytest.approx(advice.saves_bytes, rel=TOLERANCE)
