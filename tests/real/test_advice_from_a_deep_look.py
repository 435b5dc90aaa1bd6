"""The deep look at images that real builders made and pushed: what is said must be what lies in the layers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.real.image_advice import KB, Advise, Images
from tests.servers import need_program

DOCKERFILE = """FROM BASE
RUN mkdir -p /var/lib/apt/lists && dd if=/dev/urandom of=/var/lib/apt/lists/main bs=1000 count=900
COPY sources /src/
RUN rm -r /src/deep
RUN chmod 700 /src/top
CMD ["/src/top"]
"""
LEFT = {("package-lists-left", 1): 900, ("deleted-later", 2): 700, ("overwritten-later", 2): 400}


@pytest.mark.parametrize("kit", [False, True])
def test_what_is_left_and_hidden(images: Images, advise: Advise, kit: bool) -> None:
    files = {"sources/deep/a": os.urandom(700 * KB), "sources/top": os.urandom(400 * KB)}
    builds = images.builds(f"left-{int(kit)}", kit, **files)
    builds.build(DOCKERFILE.replace("BASE", images.base))
    shallow, draft = advise(builds.name)
    assert shallow is None
    assert "layers_looked_into" not in draft.before
    action, draft = advise(builds.name, deep_look=True)
    assert action is not None, draft
    assert {(one.rule, one.number): one.saves_bytes for one in action.advice} == {
        found: pytest.approx(size * KB, rel=0.1) for found, size in LEFT.items()
    }
    assert draft.before["layers_looked_into"] == 4
    assert draft.before["layer_bytes_fetched"] == sum(builds.sizes()[-4:])
    assert "not_looked_into" not in draft.before

    # Who follows what is no question gets the same files, and an image that is smaller by what was said.
    size, tree = sum(builds.sizes()), builds.tree()
    unasked = {found for found in LEFT if found[0] != "package-lists-left"}
    assert {(one.rule, one.number) for one in action.advice if not one.asks} == unasked
    builds.files, builds.mode = {"sources/top": builds.files["sources/top"]}, 0o700
    lists, *_ = DOCKERFILE.splitlines()[1:]
    builds.build("\n".join([f"FROM {images.base}", lists, "COPY sources /src/", 'CMD ["/src/top"]', ""]))
    assert builds.tree() == tree
    slim = sum(builds.sizes())
    assert size - slim == pytest.approx(sum(LEFT[found] for found in unasked) * KB, rel=0.1)

    # And the answer to the question.
    lists = "RUN mkdir -p /var/lib/apt/lists"
    builds.build("\n".join([f"FROM {images.base}", lists, "COPY sources /src/", 'CMD ["/src/top"]', ""]))
    assert set(tree) - set(builds.tree()) == {"var/lib/apt/lists/main"}
    assert slim - sum(builds.sizes()) == pytest.approx(LEFT["package-lists-left", 1] * KB, rel=0.1)


def test_a_dynamic_program_from_scratch(images: Images, advise: Advise, tmp_path: Path) -> None:
    need_program("gcc", "gcc libc6-dev")
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    made = {}
    for kind, flags in (("static", ["-static"]), ("dynamic", [])):
        subprocess.run(["gcc", *flags, "-o", kind, "a.c"], cwd=tmp_path, check=True)
        made[kind] = (tmp_path / kind).read_bytes()
    said = {}
    for kind, program in made.items():
        builds = images.builds(f"scratch-{kind}", app=program)
        builds.build('FROM scratch\nCOPY app /bin/app\nENTRYPOINT ["app"]\n')
        action, _ = advise(builds.name, deep_look=True)
        said[kind] = [one.rule for one in action.advice] if action else []
    assert said == {"static": [], "dynamic": ["dynamic-in-scratch"]}


def test_what_does_not_fit_is_said(images: Images, advise: Advise) -> None:
    builds = images.builds("large", a=os.urandom(600 * KB), b=os.urandom(900 * KB))
    builds.build("FROM scratch\nCOPY a /a\nCOPY b /b\n")
    action, draft = advise(builds.name, deep_look=True, max_bytes=1_000_000)
    assert action is None
    assert draft.before["layers_looked_into"] == 1
    assert draft.before["not_looked_into"].startswith("from instruction 2 on: ")
