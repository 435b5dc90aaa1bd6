"""An image as its manifest and configuration tell it: instructions, the layers that they made, and where its base ends.

The history of a configuration (https://github.com/opencontainers/image-spec/blob/main/config.md) has an entry for each
instruction, and `empty_layer` on those that made no layer. What it says of an instruction is not in the specification:

- classic builder: `/bin/sh -c #(nop) COPY --chown=7file:HASH in /etc/x/ `, with the hash of what was copied, without
  its name, and no space before it;
- BuildKit: `COPY one.txt /etc/x/ # buildkit`, with the names, without a hash or `--chown`;
- both: `/bin/sh -c make`, with `|1 VERSION=3 ` before it when the instruction sees arguments of the build.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
SOURCE = "org.opencontainers.image.source"
REVISION = "org.opencontainers.image.revision"
COPIES = frozenset({"COPY", "ADD"})
VARIABLES = frozenset({"ARG", "ENV"})
_TEXT = 8_000
"""Characters of one instruction; what is longer is cut."""
_NOP = re.compile(r"(?:\S+ ){1,8}?(?:-\w*c|/C|-Command) #\(nop\)(.*)", re.DOTALL)
"""SHELL changes what stands before it."""
_SHELL = re.compile(
    r"(/\S*sh|cmd|powershell) (?:-\S+ |pipefail |errexit |nounset |xtrace )*(?:-\w*c|/S /C|-Command) (.*)", re.DOTALL
)
_BUILDKIT = " # buildkit"
_WORDS = frozenset(
    {"ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN"}
)
_WORDS |= COPIES | {"SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"}
VARIABLE = re.compile(r"(?:^|(?<=\s))([A-Za-z_]\w*)=")
_ARGUMENTS = re.compile(r"\|([1-9][0-9]?) ")
_HASHED = re.compile(
    r"((?:--\S+?(?: |(?=(?:file|dir|multi):[0-9a-f]{64} )))*)((?:file|dir|multi):[0-9a-f]{64}) in (.*)", re.DOTALL
)
_FRACTION = re.compile(r"(\.\d{6})\d+")


class UnknownShape(ValueError):
    """The manifest or configuration is not one of an image whose instructions can be told from it."""


@dataclass(frozen=True)
class Instruction:
    """One entry of the history.

    `word`: COPY, RUN and so on; empty for an entry that tells no instruction. `rest`: what follows it. `size`: bytes of
    its layer as it is stored in the registry, under the digest `blob`; `diff_id` is empty if it made none. Of COPY and
    ADD: `flags`, `sources` (names, or the classic builder's hash), the absolute path `target`, and `content`, the hash
    if it is known.

    Of a Dockerfile at hand: its `lines` (first and last, from 1), `flags` of RUN too, the text `said` with the comments
    above, and `body`, what follows the word; `relative`: the target of a copy is not written from the root on.
    Of RUN: `arguments`, those of the build that the command saw, as `A=1 B=2`.

    `cut`: there is more of it than is kept. `kit`: BuildKit wrote it.
    """

    word: str
    rest: str
    created: datetime | None = None
    diff_id: str = ""
    size: int = 0
    blob: str = ""
    flags: str = ""
    sources: tuple[str, ...] = ()
    target: str = ""
    content: str = ""
    lines: tuple[int, int] = (0, 0)
    said: str = ""
    body: str = ""
    relative: bool = False
    arguments: str = ""
    cut: bool = False
    kit: bool = False

    @property
    def copies(self) -> bool:
        """Whether it is COPY or ADD."""
        return self.word in COPIES

    @property
    def variables(self) -> frozenset[str]:
        """The names that ENV or ARG sets; words of values that look like names count too."""
        if self.word not in VARIABLES:
            return frozenset()
        return frozenset(VARIABLE.findall(self.rest)) or frozenset(self.rest.split()[:1])

    @property
    def line(self) -> str:
        """How a Dockerfile says it, as far as the history tells."""
        if not self.copies:
            return f"{self.word} {self.rest}".strip()
        return f"{self.word} {self.flags}{' '.join(_named(source) for source in self.sources)} {self.target}"

    @property
    def shape(self) -> tuple[str, str]:
        """What stays the same when only the content changes."""
        if self.word == "LABEL":
            return (self.word, "")
        if self.word in VARIABLES:
            return (self.word, " ".join(sorted(self.variables)))
        return (self.word, f"{self.flags}{self.target}" if self.content else self.rest)


@dataclass(frozen=True)
class Script:
    """The Dockerfile at hand around an image's own instructions: `head` ends with its FROM, which is line `line`."""

    head: str
    tail: str
    line: int


@dataclass(frozen=True)
class Image:
    """An image: `instructions` in their order, of which the first `own` belong to its base image.

    `base_name` and `base_digest` are its annotations or labels; empty where nobody says. `config` is the part of the
    configuration that containers are started with. `script` is there once a Dockerfile was found that fits.
    `source` and `revision`: the repository and commit that its annotations or labels name. `engine`: the version of
    Docker that committed it, which only the classic builder tells.
    """

    digest: str
    instructions: tuple[Instruction, ...]
    own: int = 0
    base_name: str = ""
    base_digest: str = ""
    created: datetime | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    script: Script | None = None
    source: str = ""
    revision: str = ""
    engine: str = ""

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of its layers' content, the lowest first."""
        return tuple(one.diff_id for one in self.instructions if one.diff_id)

    @property
    def size(self) -> int:
        """Bytes of all its layers in the registry."""
        return sum(one.size for one in self.instructions)

    @property
    def classic(self) -> bool:
        """Whether it is known that the classic builder built it on its base: others hide options of RUN."""
        return bool(self.engine) and not any(one.kit for one in self.own_instructions)

    @property
    def own_instructions(self) -> tuple[Instruction, ...]:
        """Those of its own Dockerfile, without those of its base."""
        return self.instructions[self.own :]


def image_of(manifest: Mapping[str, Any], config: Mapping[str, Any], digest: str) -> Image:
    """The image that a manifest and its configuration describe. Raises UnknownShape."""
    stored = [layer for layer in _list(manifest, "layers") if isinstance(layer, Mapping)]
    sizes = [layer.get("size") for layer in stored]
    diff_ids = _list(config.get("rootfs") or {}, "diff_ids")
    if len(sizes) != len(diff_ids) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise UnknownShape("manifest and configuration do not have the same layers")
    history = [entry for entry in _list(config, "history") if isinstance(entry, Mapping)]
    if sum(not entry.get("empty_layer") for entry in history) != len(diff_ids):
        raise UnknownShape("the history does not tell which instruction made which layer")
    instructions = []
    layers = iter(zip(map(str, diff_ids), stored, strict=True))
    folder = "/"
    for entry in history:
        text = str(entry.get("created_by") or "")
        made = _instruction(text[:_TEXT], folder)
        if made.word == "WORKDIR":
            folder = posixpath.join(folder, made.rest)
        kit = text.endswith(_BUILDKIT) or str(entry.get("comment") or "").startswith("buildkit.")
        made = replace(made, created=_time(entry.get("created")), cut=len(text) > _TEXT, kit=kit)
        if not entry.get("empty_layer"):
            diff_id, layer = next(layers)
            made = replace(made, diff_id=diff_id, size=layer["size"], blob=str(layer.get("digest") or ""))
        instructions.append(made)
    started = config.get("config")
    started = started if isinstance(started, Mapping) else {}
    named = {**_texts(started.get("Labels")), **_texts(manifest.get("annotations"))}
    return Image(
        digest=digest,
        instructions=tuple(instructions),
        own=_end_of_base(instructions, history),
        base_name=named.get(BASE_NAME, ""),
        base_digest=named.get(BASE_DIGEST, ""),
        source=named.get(SOURCE, ""),
        revision=named.get(REVISION, ""),
        created=_time(config.get("created")),
        engine=str(config.get("docker_version") or ""),
        config=started,
    )


def on_base(image: Image, base: Image) -> Image:
    """The image, with its base as long as this one; unchanged if it does not stand on it."""
    count = len(base.instructions)
    below = image.instructions[:count]
    stands = tuple(one.diff_id for one in below) == tuple(one.diff_id for one in base.instructions)
    return replace(image, own=count) if stands else image


def _instruction(text: str, folder: str) -> Instruction:
    said = text.strip()
    if found := _NOP.match(said):
        word, _, rest = found[1].strip().partition(" ")
        return _read(word, rest.strip(), folder)
    said = said.removesuffix(_BUILDKIT)
    word, _, rest = said.partition(" ")
    if word in _WORDS:
        return _read(word, rest.strip(), folder)
    return _read("RUN", said, folder) if said else Instruction("", "")


def _read(word: str, rest: str, folder: str) -> Instruction:
    if word == "RUN":
        arguments, command = _split(rest)
        return Instruction(word, _command(command), arguments=arguments)
    if word in COPIES:
        return _copy(word, rest, folder)
    return Instruction(word if word in _WORDS else "", rest)


def _split(rest: str) -> tuple[str, str]:
    """The arguments of the build that a command sees, and the command."""
    counted = _ARGUMENTS.match(rest)
    if counted is None:
        return "", rest
    # Values may hold spaces, and nothing ends them: what is run begins with the shell, if there is one.
    if found := _SHELL.search(rest):
        return rest[counted.end() : found.start()].strip(), found[0]
    words, count = rest.split()[1:], int(counted[1])
    return " ".join(words[:count]), " ".join(words[count:])


def _command(rest: str) -> str:
    """A command as RUN has it; in JSON if no shell runs it."""
    if found := _SHELL.match(rest):
        return found[2].strip()
    return json.dumps(rest.split())


def _copy(word: str, rest: str, folder: str) -> Instruction:
    if hashed := _HASHED.fullmatch(rest):
        options, content, target = hashed.groups()
        flags = "".join(f"{one} " for one in options.split())
        return _placed(word, rest, flags, (content,), target.strip(), folder, content)
    words = rest.split()
    count = next((number for number, one in enumerate(words) if not one.startswith("--")), len(words))
    flags, names = "".join(f"{one} " for one in words[:count]), words[count:]
    if len(names) < 2:
        return Instruction("", rest)
    return _placed(word, rest, flags, tuple(names[:-1]), names[-1], folder, "")


def _placed(
    word: str, rest: str, flags: str, sources: tuple[str, ...], target: str, folder: str, content: str
) -> Instruction:
    absolute = posixpath.normpath(posixpath.join(folder, target)).replace("//", "/")
    if target.endswith(("/", "/.")) or target == ".":
        absolute = absolute.rstrip("/") + "/"
    return Instruction(word, rest, flags=flags, sources=sources, target=absolute, content=content)


def _end_of_base(instructions: Sequence[Instruction], history: Sequence[Mapping[str, Any]]) -> int:
    """How many of the first entries are the base image's, as far as the history shows it; 0 for FROM scratch.

    A Dockerfile usually says at its end what is started: where layers follow upon that, another Dockerfile began. An
    imported image says that it was imported.
    """
    end = 0
    for number, one in enumerate(instructions):
        imported = str(history[number].get("comment") or "").startswith("Imported from")
        followed = any(later.diff_id for later in instructions[number + 1 :])
        if (imported or one.word in ("CMD", "ENTRYPOINT")) and followed:
            end = number + 1
    return end


def _named(source: str) -> str:
    """A source; the classic builder's hash as a place where a name belongs."""
    kind, colon, content = source.partition(":")
    return f"<{kind}:{content[:12]}>" if colon and kind in ("file", "dir", "multi") else source


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, Mapping) else None
    return found if isinstance(found, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, Mapping) else {}


def _time(value: Any) -> datetime | None:
    """A time of RFC 3339; Python's fractions have six digits at most."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r"\1", str(value)))
    except ValueError:
        return None
    return found if found.tzinfo else None
