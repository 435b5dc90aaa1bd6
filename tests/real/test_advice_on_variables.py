"""Variables that change with each build, against real builders: what is built again, and what a later place saves."""

from __future__ import annotations

import os
import time

import pytest

from tests.real.image_advice import KB, Advise, Images
from tests.real.test_advise_image_layers_for_real import TOLERANCE, completed

RULE = "variable-before-commands"
MADE = "RUN dd if=/bin/busybox of=/made bs=1000 count=700\n"
USED = "RUN echo $REVISION > /revision\n"
VARIABLES = {
    "ARG": "FROM BASE\nARG REVISION\nCOPY lib /library\n" + MADE + USED,
    "ARG, with another": "FROM BASE\nARG OTHER=x\nARG REVISION\nCOPY lib /library\n" + MADE + USED,
    "ENV": "FROM BASE\nENV REVISION=first\nCOPY lib /library\n" + MADE + USED,
}


@pytest.mark.parametrize("kit", [False, True], ids=["classic", "BuildKit"])
@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_comes_before_what_reads_it(name: str, kit: bool, images: Images, advise: Advise) -> None:
    dockerfile = VARIABLES[name].replace("BASE", images.base)
    builds = images.builds(f"variable-{'kit' if kit else 'classic'}-{list(VARIABLES).index(name)}", kit)
    builds.files = {"lib": os.urandom(300 * KB)}

    def build(text: str, value: str) -> int:
        if "ENV" in text:
            return builds.build(text.replace("first", value))
        return builds.build(text, "--build-arg", f"REVISION={value}")

    build(dockerfile, "first")
    before = builds.digest()
    time.sleep(1.1)  # layers tell the times of files in whole seconds
    rebuilt = build(dockerfile, "second")
    action, draft = advise(builds.name, before)
    assert draft.before["layers_rebuilt"] == rebuilt
    assert action is not None, draft
    [advice] = [one for one in action.advice if one.rule == RULE]
    assert advice.asks
    assert action.dockerfile == ""
    assert "REVISION" in advice.text

    tree, config = builds.tree(), builds.config()
    proposed = completed(advice.dockerfile, dockerfile).replace("<your base image>", images.base)
    proposed = proposed.replace("second", "first")
    build(proposed, "second")
    assert (builds.tree(), builds.config()) == (tree, config)
    made = build(proposed, "third")
    assert rebuilt - made == advice.saves_layers
    saved = draft.before["bytes_rebuilt"] - sum(builds.sizes()[-made:])
    assert saved == pytest.approx(advice.saves_bytes, rel=TOLERANCE)
    assert made == 1, "only what reads it"
