"""Whatever a Dockerfile says: what is proposed unasked makes the same files, in a model of what builders do."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.advise_image_layers.advice import Limits, advise
from functions.advise_image_layers.rebuild import compare
from functions.advise_image_layers.sources.dockerfiles import Step, stages
from functions.advise_image_layers.sources.fitting import fitted
from tests.unit.functions.advise_image_layers.histories import Entry, image, nop

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(saving_bytes=1, saving_layers=1, upgrade_age=timedelta(days=30))
FOLDERS = ("/x/", "/x/y/", "/lib/", "/usr/lib/", "./", "y/", "$D/")
FILES = ("/x/a", "/lib/a", "/usr/lib/a", "a", "/n/f", "/n/g")
Files = dict[str, tuple[str, ...]]

places = st.sampled_from(("/x", "/x/y", "/lib", "y", "/", "../x", "/n"))
copies = st.builds(
    "{}{} {}".format,
    st.sampled_from(("COPY ", "COPY --chown=7 ", "ADD --chown=8 ")),
    st.sampled_from(("a", "b", "c")),
    st.sampled_from(FOLDERS + FILES),
)
steps = st.one_of(
    copies,
    copies,
    st.builds("WORKDIR {}".format, places),
    st.builds("ENV D={}".format, st.sampled_from(("/x", "/n", "/lib"))),
    st.builds("LABEL {}={}".format, st.sampled_from("kl"), st.sampled_from("12")),
)


class Model:
    """What is there after each step. /lib is a link to /usr/lib."""

    def __init__(self) -> None:
        self.files: Files = {"/": ("folder", ""), "/usr": ("folder", ""), "/usr/lib": ("folder", "")}
        self.folder, self.value = "/", "/x"
        self.labels: dict[str, str] = {}

    def absolute(self, path: str) -> str:
        whole = posixpath.normpath(posixpath.join(self.folder, path.replace("$D", self.value)))
        return whole + "/" * (path.endswith("/") and whole != "/")

    def made(self, path: str, owner: str) -> str:
        """The folder behind the link, with what was missing."""
        real = "/usr" + path if path == "/lib" or path.startswith("/lib/") else path
        parts = real.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            self.files.setdefault("/" + "/".join(parts[:count]).strip("/"), ("folder", owner))
        return real.rstrip("/")

    def take(self, step: Step) -> None:
        match step.word:
            case "WORKDIR":
                self.folder = self.absolute(step.rest)
                self.made(self.folder, "")
            case "ENV":
                self.value = step.rest.partition("=")[2]
            case "LABEL":
                self.labels |= [step.rest.split("=")]  # type: ignore[arg-type]
            case "COPY" | "ADD":
                *names, target = step.rest.split()
                where, owner = self.absolute(target), step.flags
                for name in names:
                    folder, file = (where, name) if target.endswith("/") else posixpath.split(where)
                    self.files[f"{self.made(folder.rstrip('/') or '/', owner)}/{file}"] = ("file", owner, name)


def built(lines: list[str], changed: str) -> list[Entry]:
    """The history that the classic builder would write."""
    model, found = Model(), [("/bin/sh -c #(nop) COPY file:" + "0" * 64 + " in / ", "base", 1), nop('CMD ["sh"]')]
    [stage] = stages("FROM base:1\n" + "\n".join(lines) + "\n")
    for number, step in enumerate(stage.steps):
        if step.word in ("COPY", "ADD"):
            *_, target = step.rest.split()
            content = changed if f"{step.rest.split()[0]}{number}" == changed else step.rest[0]
            digest = content.encode().hex().ljust(64, "0")
            said = f"/bin/sh -c #(nop) {step.word} {step.flags}file:{digest} in {model.absolute(target)} "
            found.append((said, f"{number}{content}", 1_000_000))
        elif step.word == "WORKDIR":
            found.append((f"/bin/sh -c #(nop) WORKDIR {model.absolute(step.rest)}", f"w{number}", 1))
        else:
            found.append(nop(f"{step.word} {step.rest}{'9' * (changed == str(number))}"))
        model.take(step)
    return found


def outcome(text: str) -> tuple[Files, dict[str, str]]:
    model = Model()
    [stage] = stages(text)
    for step in stage.steps:
        model.take(step)
    return model.files, model.labels


@settings(max_examples=500, deadline=None)
@given(st.lists(steps, min_size=2, max_size=6), st.data())
def test_what_is_proposed_unasked_makes_the_same_files(lines: list[str], data: st.DataObject) -> None:
    text = "FROM base:1\n" + "\n".join(lines) + "\n"
    known_by = [f"{line.split()[-2]}{number}" for number, line in enumerate(lines) if line[:4] in ("COPY", "ADD ")]
    known_by += [str(number) for number, line in enumerate(lines) if line.startswith("LABEL")]
    changed = data.draw(st.sampled_from([*known_by, ""]))
    one, other = image(*built(lines, changed), digest="sha256:before"), image(*built(lines, ""))
    known = fitted(other, text)
    assert known is not None
    commits = data.draw(st.lists(st.sets(st.sampled_from(range(2, 2 + len(lines)))), max_size=4))
    touched = [{number for number in numbers if known.instructions[number].copies} for numbers in commits]
    for told in ([], touched):
        proposed = advise(known, compare(one, other), LIMITS, NOW, told).dockerfile
        if proposed:
            assert outcome(proposed) == outcome(text)
