"""Dockerfiles, their lines, and which of them made which layer."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from functions.advise_image_layers.dockerfile import dockerfile
from functions.advise_image_layers.merging import merged
from functions.advise_image_layers.order import as_built
from functions.advise_image_layers.sources.dockerfiles import LONGEST, stages
from functions.advise_image_layers.sources.fitting import fitted
from tests.unit.functions.advise_image_layers.histories import copied, image, kit, nop, ran

TEXT = """# syntax=docker/dockerfile:1
FROM golang:1 AS build
RUN go build \\
   # where to
   -o a

FROM debian:12
# about the app
COPY --chown=1:2 --link app /app
RUN <<END
echo a
END
RUN ["a", "b c"]
CMD ["x"]
# the end
"""


def test_steps_have_their_lines_comments_and_options() -> None:
    build, last = stages(TEXT)
    assert (build.base, build.name, build.line) == ("golang:1", "build", 2)
    [made] = build.steps
    assert (made.word, made.rest, made.first, made.last) == ("RUN", "go build -o a", 3, 5)
    assert (last.base, last.name, last.line) == ("debian:12", "", 7)
    assert [(one.word, one.flags, one.first, one.last) for one in last.steps] == [
        ("COPY", "--chown=1:2 --link ", 9, 9),
        ("RUN", "", 10, 12),
        ("RUN", "", 13, 13),
        ("CMD", "", 14, 14),
    ]
    assert last.steps[0].rest == "app /app"
    assert last.steps[0].text == "# about the app\nCOPY --chown=1:2 --link app /app"
    assert last.steps[1].body == "<<END\necho a\nEND"
    assert last.before == "".join(line + "\n" for line in TEXT.splitlines()[:7])
    assert last.after == "# the end"


def test_another_escape() -> None:
    [stage] = stages("# escape=`\r\nFROM a\r\nRUN b `\r\n  c\\\r\nCOPY d e\r\n")
    assert [(one.word, one.rest) for one in stage.steps] == [("RUN", "b c\\"), ("COPY", "d e")]


def test_what_is_none() -> None:
    assert stages("") == []
    assert stages("FROM a\n" + "#" * LONGEST) == []
    [stage] = stages("RUN before\nfrom\nRUN a \\")
    assert (stage.base, stage.steps[0].rest) == ("", "a")
    [open_] = stages("FROM a\nRUN <<END\nand so on\n")
    assert open_.steps[0].last == 4


@given(st.text(st.sampled_from('RUN COPY FROM\n\\`#<"- $='), max_size=300))
def test_any_text_is_read(text: str) -> None:
    for stage in stages(text):
        lines = [line for step in stage.steps for line in (step.first, step.last)]
        assert lines == sorted(lines)
        assert all(one.last < two.first for one, two in pairwise(stage.steps))


def test_reading_takes_time_in_proportion() -> None:
    begun = time.process_time()
    for piece in ('COPY --a="b', "RUN <<A", "\\\n", '"" '):
        stages("FROM a\n" + piece * (LONGEST // 2 // len(piece)))
    assert time.process_time() - begun < 5


def test_lines_names_and_options_come_from_the_dockerfile() -> None:
    known = fitted(
        image(copied("/", "e"), nop('CMD ["sh"]'), copied("/app", "a"), ran("make  all", "b"), nop("ENV A=b")),
        "FROM base:1\nCOPY --chown=7 my-app /app\nRUN make \\\n  all\nENV A=b\n",
    )
    assert known is not None
    assert (known.own, known.base_name) == (2, "base:1")
    assert [one.lines for one in known.instructions] == [(0, 0), (0, 0), (2, 2), (3, 4), (5, 5)]
    copy = known.instructions[2]
    assert (copy.sources, copy.flags, copy.line) == (("my-app",), "--chown=7 ", "COPY --chown=7 my-app /app")
    assert (
        dockerfile(known, as_built(known)) == "FROM base:1\nCOPY --chown=7 my-app /app\nRUN make \\\n  all\nENV A=b\n"
    )


def test_the_stage_that_fits_and_what_stands_around_it_stays() -> None:
    text = "ARG V=1\nFROM a AS one\nCOPY x /x\nRUN b\nRUN c\n\nFROM scratch AS two\nCOPY y /y\n"
    known = fitted(image(kit("COPY x /x", "1"), ran("b", "2"), ran("c", "3")), text)
    assert known is not None
    together = merged(known, as_built(known), frozenset(), "RUN")
    assert dockerfile(known, together) == (
        "ARG V=1\nFROM a AS one\nCOPY x /x\nRUN ( b ) \\\n && ( c )\n\nFROM scratch AS two\nCOPY y /y\n"
    )


def test_options_of_commands_stay_apart() -> None:
    history = image(ran("a", "1"), ran("b", "2"), ran("c", "3"))
    known = fitted(history, "FROM x\nRUN --mount=type=cache,target=/c a\nRUN --network=none b\nRUN --network=none c\n")
    assert known is not None
    together = merged(known, as_built(known), frozenset(), "RUN")
    assert together == ((0,), (1, 2))
    assert "RUN --network=none ( b ) \\\n && ( c )" in dockerfile(known, together)


def test_a_dockerfile_that_is_another_one() -> None:
    shown = image(copied("/app", "a"), ran("make", "b"))
    for other in (
        "FROM x\nCOPY a /app\n",
        "FROM x\nCOPY a /app\nRUN make all\n",
        "FROM x\nCOPY a /other\nRUN make\n",
        "FROM x\nADD a /app\nRUN make\n",
        "FROM x\nRUN make\nCOPY a /app\n",
        "FROM scratch\nRUN make\n",
        "FROM x\n",
        "nothing",
    ):
        assert fitted(shown, other) is None
    assert fitted(shown, "FROM x\nCOPY a $WHERE\nRUN make\n") is not None


def test_labels_that_the_builder_adds_do_not_count() -> None:
    shown = image(copied("/app", "a"), nop("LABEL a=b"), nop("LABEL revision=1"))
    known = fitted(shown, "FROM scratch\nCOPY a /app\nLABEL a=b\n")
    assert known is not None
    assert [one.lines for one in known.instructions] == [(2, 2), (3, 3), (0, 0)]
    assert dockerfile(known, as_built(known)).splitlines() == ["FROM scratch", "COPY a /app", "LABEL a=b"]


def test_both_forms_of_commands_and_targets() -> None:
    shown = image(nop("WORKDIR /srv"), kit("COPY a b/", "1"), ran("x", "2"), ("a b c # buildkit", "3", 1))
    assert fitted(shown, 'FROM x\nWORKDIR /srv\nCOPY ["a", "b/"]\nRUN x\nRUN ["a", "b c"]\n') is not None
    assert fitted(shown, 'FROM x\nWORKDIR /srv\nCOPY ["a", "b/"]\nRUN x\nRUN ["a", "b d"]\n') is None
