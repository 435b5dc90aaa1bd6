"""Instructions written as a Dockerfile, as far as an image tells them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from functions.advise_image_layers.image import Image, Instruction, Script
from functions.advise_image_layers.order import Blocks

UNNAMED = "# The classic builder does not record names: put yours for <file:…>, <dir:…> and <multi:…>."
OPTIONS = "# Images do not record every --chown, --chmod, --from and --mount: put yours."
WORDS = "# Images do not record where the words of RUN [...] end: put yours."
UNKNOWN_BASE = "<your base image>"
_OTHER_ESCAPE = re.compile(r"(#[^\n]*\n)*#\s*escape\s*=\s*`", re.IGNORECASE)
LONGEST = 60_000
"""Characters of a proposed Dockerfile; for a longer one there is none."""


def dockerfile(image: Image, blocks: Blocks) -> str:
    """The Dockerfile of an image with its own instructions in these blocks; empty if it would be too long.

    Empty too if the image does not tell all of an instruction.
    """
    if image.script:
        return _edited(image, image.script, blocks)
    if not told_whole(image):
        return ""
    lines = [base_of(image), *(_line(image, block) for block in blocks)]
    return finished([line for line in lines if line], classic=image.classic)


def told_whole(image: Image) -> bool:
    """Whether its own instructions are known to their ends. What a here-document holds is not, as a Dockerfile."""
    return image.script is not None or not any(one.cut or "\n" in one.line for one in image.own_instructions)


def _edited(image: Image, script: Script, blocks: Blocks) -> str:
    """The Dockerfile at hand with its instructions in these blocks; what the builder added stays out."""
    known = [tuple(number for number in block if image.instructions[number].said) for block in blocks]
    lines = [_line(image, block) for block in known if block]
    tail = f"\n{script.tail}\n" if script.tail else ""
    text = script.head + "\n".join(lines) + "\n" + tail
    return text if len(text) <= LONGEST else ""


def finished(lines: Iterable[str], *, classic: bool) -> str:
    """The lines of a Dockerfile, with what its reader must know above them. The `classic` builder knows no --mount."""
    body = list(lines)
    notes = []
    if any(re.search(r"<(file|dir|multi):", line) for line in body):
        notes.append(UNNAMED)
    hiding = r"(COPY|ADD) (?!--from)" if classic else r"(COPY|ADD|RUN) (?!--from)"
    if any(re.match(hiding, line) for line in body):
        notes.append(OPTIONS)
    if any(line.startswith('RUN ["') for line in body):
        notes.append(WORDS)
    text = "\n".join([*notes, *body]) + "\n"
    return text if len(text) <= LONGEST else ""


def base_of(image: Image) -> str:
    """The line FROM, with a digest if it is known."""
    if image.base_name:
        name = image.base_name.partition("@")[0]
        return f"FROM {name}@{image.base_digest}" if image.base_digest else f"FROM {name}"
    return f"FROM {UNKNOWN_BASE}" if image.own else "FROM scratch"


def said(image: Image, one: Instruction) -> str:
    """One instruction; empty for what is none."""
    config = image.config
    if one.said:
        return one.said
    match one.word:
        case "":
            return ""
        case "ENV":
            return _pairs("ENV", one.rest, dict(entry.partition("=")[::2] for entry in config.get("Env") or ()))
        case "LABEL":
            return _pairs("LABEL", one.rest, config.get("Labels") or {})
        case "EXPOSE":
            return "EXPOSE " + " ".join(re.findall(r"[0-9][0-9-]*(?:/[a-z]+)?", one.rest))
        case "SHELL":
            return "SHELL " + json.dumps(one.rest.strip("[]").split())
        case "VOLUME":
            return "VOLUME " + json.dumps(one.rest.strip("[]").split())
        case "HEALTHCHECK":
            return _health(config.get("Healthcheck") or {})
    return one.line


def _line(image: Image, block: tuple[int, ...]) -> str:
    ones = [image.instructions[number] for number in block]
    if len(ones) == 1:
        return said(image, ones[0])
    first = ones[0]
    if first.copies:
        names = " ".join(one.line.removeprefix(f"{one.word} {one.flags}").rpartition(" ")[0] for one in ones)
        return f"{first.word} {first.flags}{names} {first.target}"
    joint = " && " if image.script and _OTHER_ESCAPE.match(image.script.head) else " \\\n && "
    return f"RUN {first.flags}" + joint.join(f"( {_command(one)} )" for one in ones)


def _command(one: Instruction) -> str:
    """What RUN runs: as the Dockerfile at hand has it, without its options."""
    return one.body.removeprefix(one.flags.strip()).strip() if one.body else one.rest


def _pairs(word: str, rest: str, known: Mapping[str, Any]) -> str:
    """`A=b c D=e` with quotes: the configuration tells the names, since values may hold spaces and equal signs."""
    starts = [found for found in re.finditer(r"(?:^|(?<=\s))([^\s=]+)=", rest) if found[1] in known]
    if not starts or starts[0].start() != 0:
        starts = [found] if (found := re.match(r"([^\s=]+)[= ]", rest)) else []
    if not starts:
        return f"{word} {rest}"
    ends = [*(found.start() for found in starts[1:]), len(rest)]
    return f"{word} " + " ".join(
        f"{found[1]}={_quoted(rest[found.end() : end].strip())}" for found, end in zip(starts, ends, strict=True)
    )


def _quoted(value: str) -> str:
    bare = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if re.fullmatch(r"[\w.,:/@%+-]+", bare):
        return bare
    return '"' + re.sub(r'(["\\$])', r"\\\1", bare) + '"'


def _health(check: Mapping[str, Any]) -> str:
    test = [str(one) for one in check.get("Test") or ()]
    if not test or test[0] == "NONE":
        return "HEALTHCHECK NONE"
    names = (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start-period"))
    options = [f"--{option}={check[name] // 1_000_000}ms " for name, option in names if check.get(name)]
    options += [f"--retries={check['Retries']} "] if check.get("Retries") else []
    command = test[1] if test[0] == "CMD-SHELL" and len(test) > 1 else json.dumps(test[1:])
    return f"HEALTHCHECK {''.join(options)}CMD {command}"
