"""Advice with the Dockerfile at hand, built as it is proposed: the same files, and the saving that was said."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.real.git_server import GitServer, git_server
from tests.real.image_advice import KB, Advise, Images

TOLERANCE = 0.1


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server of repositories."""
    with git_server(tmp_path_factory.mktemp("git")) as running:
        yield running


@dataclass(frozen=True)
class Case:
    """A Dockerfile, its files by their size in kB, and those that change from build to build.

    `said`: the advice that is no question, with the layers that each saves. `asked`: the questions. `folders`: the
    WORKDIRs that BuildKit makes again without saying so.
    """

    dockerfile: str
    files: dict[str, int]
    said: dict[str, int] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    touched: tuple[str, ...] = ("app",)
    kit: bool = False
    folders: int = 0


FILES = {"app": 150, "lib": 600, "data": 900, "more": 300}
LATER = "volatile-before-stable"
RELATIVE = "FROM scratch\nWORKDIR /one\nCOPY app ./\nCOPY more /m/more\nWORKDIR /two\nCOPY lib data ./\n"
STOPS = """FROM BASE
COPY app /app
COPY lib /library
RUN set -eux; mkdir /t; echo a > /t/a
RUN set -e; echo b > /t/b
RUN set -e; false || echo c > /t/c
"""
SHELL = """FROM BASE
SHELL ["/bin/sh", "-euc"]
COPY app /app
COPY lib /library
RUN mkdir /t; echo a > /t/a
RUN echo b > /t/b
RUN echo c > /t/c
"""
ROW = "FROM scratch\nCOPY --chown=7:8 app /srv/\nCOPY --chown=7:8 lib /srv/\nCOPY --chown=7:8 data more /srv/\n"
AFTER = "FROM scratch\nCOPY app /app\nCOPY --chown=7 lib /srv/\nCOPY --chown=7 data /srv/\nCOPY --chown=7 more /srv/\n"
ADDED = "FROM scratch\nADD lib /srv/\nADD data /srv/\nADD more /srv/\nCOPY app /app\n"
VALUES = """FROM BASE
ARG WHICH=app
ENV TO=/srv
COPY $WHICH $TO/app
ARG WHICH=lib
ENV TO=/opt
COPY $WHICH $TO/lib
COPY data /data
"""
LINKED = """FROM BASE
RUN mkdir -p /usr/lib /real && ln -s /usr/lib /lib && ln -s /real /alias
COPY app /lib/x
COPY lib/ /usr/lib/
COPY more /alias/a
COPY data/ /real/
"""
OWNED = "FROM scratch\nCOPY --chown=7 app /x/app\nWORKDIR /x/y\nCOPY lib data /d/\n"
STAGES = """ARG UNUSED=1
FROM BASE AS deps
COPY lib /made
RUN mkdir /out && cp /made /out/made

FROM BASE
# the program
COPY app /app
COPY --from=deps /out/made /srv/made
COPY --chown=3 data /data
CMD ["/app"]
"""
COMMANDS = "FROM BASE\nCOPY app /app\nRUN mkdir /t && echo a > /t/a\nRUN echo b \\\n  > /t/b\nRUN echo c > /t/c\n"
LABELLED = 'FROM BASE\nLABEL version="1"\nCOPY lib /library\nRUN dd if=/bin/busybox of=/made bs=1000 count=700\n'
TREE = {"app": 150, "lib/x": 600, "data/a": 900, "more": 300}

CASES = {
    "relative copies": Case(RELATIVE, FILES, {LATER: 1}),
    "relative copies, BuildKit": Case(RELATIVE, FILES, {LATER: 1}, kit=True, folders=1),
    "commands that stop": Case(STOPS, FILES, {LATER: 1}),
    "a shell that stops": Case(SHELL, FILES, {LATER: 1}),
    "copies in a row": Case(ROW, FILES, {"merge-copy": 2}, touched=("app", "lib", "data")),
    "copies in a row, BuildKit": Case(AFTER, FILES, {LATER: 3, "merge-copy": 2}, kit=True),
    "additions in a row": Case(ADDED, FILES, {"merge-add": 2}, ("add-for-copy",)),
    "additions in a row, BuildKit": Case(ADDED, FILES, {"merge-add": 2}, ("add-for-copy",), kit=True),
    "values": Case(VALUES, FILES),
    "a folder that a copy makes": Case(OWNED, FILES),
    "links": Case(LINKED, TREE),
    "stages": Case(STAGES, FILES, {LATER: 2}),
    "stages, BuildKit": Case(STAGES, FILES, {LATER: 2}, kit=True),
    "commands in a row, BuildKit": Case(COMMANDS, FILES, {"merge-run": 2}, kit=True),
}


@pytest.mark.parametrize("name", CASES)
def test_the_dockerfile_at_hand_with_its_steps_in_another_order(
    name: str, images: Images, git: GitServer, advise: Advise
) -> None:
    case = CASES[name]
    slug = re.sub(r"\W+", "-", name.lower())
    dockerfile = case.dockerfile.replace("BASE", images.base)
    builds = images.builds(slug, case.kit)
    builds.files = {file: os.urandom(size * KB) for file, size in case.files.items()}
    work = git.repository(slug)
    work.commit({"Dockerfile": dockerfile.encode()})
    builds.build(dockerfile)
    before = builds.digest()
    builds.touch(case.touched)
    rebuilt = builds.build(dockerfile)
    source = {"uid": slug, "name": slug, "url": work.url, "images": [f"{images.registry.host}/{slug}"]}
    action, draft = advise(slug, before, sources=[source], hadolint="off")
    assert draft.before["layers_rebuilt"] == rebuilt + case.folders
    assert draft.before["bytes_rebuilt"] == sum(builds.sizes()[-rebuilt - case.folders :])
    advice = [one for one in action.advice if one.rule != "floating-base"] if action else []
    assert {one.rule: one.saves_layers for one in advice if not one.asks} == case.said
    assert {one.rule for one in advice if one.asks} == set(case.asked)
    if not case.said:
        assert action is None or action.dockerfile == ""
        return
    assert action is not None
    tree, config, layers = builds.tree(), builds.config(), len(builds.sizes())

    builds.build(action.dockerfile)
    assert builds.tree() == tree
    assert builds.config() == config
    merged = sum(count for rule, count in case.said.items() if rule.startswith("merge-"))
    assert layers - len(builds.sizes()) == merged
    builds.touch(case.touched)
    made = builds.build(action.dockerfile)
    made += case.folders
    size = sum(builds.sizes()[-made:])
    if "layers_proposed" in draft.before:
        assert made == draft.before["layers_proposed"]
        assert size == pytest.approx(draft.before["bytes_proposed"], rel=TOLERANCE)
    for one in (one for one in advice if one.rule == LATER):
        assert rebuilt + case.folders - made == one.saves_layers
        assert draft.before["bytes_rebuilt"] - size == pytest.approx(one.saves_bytes, rel=TOLERANCE)


def test_a_failure_still_ends_the_build(images: Images, git: GitServer, advise: Advise) -> None:
    """Commands that stop at a failure are not put where the shell would go on."""
    dockerfile = f"FROM {images.base}\nCOPY app /app\n" + "RUN set -e; test -e /app; echo x\n" + "RUN echo y\n" * 2
    builds = images.builds("stopping", app=os.urandom(KB))
    builds.build(dockerfile)
    work = git.repository("stopping")
    work.commit({"Dockerfile": dockerfile.encode()})
    source = {"uid": "s", "name": "s", "url": work.url, "images": [f"{images.registry.host}/stopping"]}
    action, _ = advise("stopping", sources=[source], hadolint="off")
    said = action.dockerfile if action else ""
    with pytest.raises(AssertionError, match="non-zero code"):
        images.builds("stopping-after", app=b"").build((said or dockerfile).replace("COPY app /app\n", ""), push=False)


@pytest.mark.parametrize("kit", [False, True])
def test_the_times_of_files_do_not_count(images: Images, kit: bool) -> None:
    builds = images.builds(f"times-{int(kit)}", kit, app=os.urandom(KB), **{"lib/x": os.urandom(KB)})
    dockerfile = f"FROM {images.base}\nCOPY app /app\nCOPY lib /library/\nADD app /b\nRUN cat /app > /made\n"
    assert builds.build(dockerfile) == 4
    builds.modified = 1_000_000_000
    assert builds.build(dockerfile) == 0
    builds.touch(("app",))
    assert builds.build(dockerfile) == 4


def test_a_label_that_changes(images: Images, advise: Advise) -> None:
    """The classic builder builds all after it again, and nothing once it comes last."""
    dockerfile = LABELLED.replace("BASE", images.base)
    builds = images.builds("labelled", lib=os.urandom(600 * KB))
    builds.build(dockerfile)
    before = builds.digest()
    time.sleep(1.1)  # layers tell the times of files in whole seconds: sooner, the command makes the same one
    rebuilt = builds.build(dockerfile.replace('"1"', '"2"'))
    action, draft = advise("labelled", before)
    assert action is not None, draft
    assert rebuilt == 2
    [one] = [one for one in action.advice if one.rule == LATER]
    tree, config = builds.tree(), builds.config()
    assert one.saves_bytes == sum(builds.sizes()[-draft.before["layers_rebuilt"] :])
    named = re.sub(r"<file:\w+>", "lib", action.dockerfile).replace("<your base image>", images.base)
    builds.build(named)
    assert (builds.tree(), builds.config()) == (tree, config)
    assert builds.build(named.replace("version=2", "version=3")) == 0


def test_a_label_that_changes_does_not_count_for_buildkit(images: Images, advise: Advise) -> None:
    builds = images.builds("labelled-kit", True, lib=os.urandom(600 * KB), app=os.urandom(KB))
    dockerfile = f'FROM {images.base}\nLABEL version="1"\nCOPY lib /library\nCOPY app /app\n'
    builds.build(dockerfile)
    before = builds.digest()
    builds.touch(("app",))
    rebuilt = builds.build(dockerfile.replace('"1"', '"2"'))
    action, draft = advise("labelled-kit", before)
    assert (action, rebuilt) == (None, 1)
    assert draft.before["layers_rebuilt"] == rebuilt
    assert draft.before["bytes_rebuilt"] == builds.sizes()[-1]


def test_a_pinned_base_is_the_same_base(images: Images, advise: Advise) -> None:
    """What floating-base says is of the base that the image stands on."""
    digest = images.builds("base").digest()
    builds = images.builds("pinned", app=os.urandom(KB))
    named = "org.opencontainers.image.base"
    dockerfile = f"FROM {images.base}\nCOPY app /app\nLABEL {named}.name={images.base} {named}.digest={digest}\n"
    builds.build(dockerfile)
    action, draft = advise("pinned")
    assert action is not None, draft
    [one] = [one for one in action.advice if one.rule == "floating-base"]
    [pinned] = re.findall(r"Today's is (\S+)\.", one.text)
    tree = builds.tree()
    builds.build(dockerfile.replace(f"FROM {images.base}", f"FROM {pinned}"), push=False)
    assert builds.tree() == tree
