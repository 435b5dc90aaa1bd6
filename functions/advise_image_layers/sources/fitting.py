"""Which line of a Dockerfile made which layer: the last instructions of an image are the steps of one of its stages.

If they are not, the Dockerfile is another one, or was changed since, and nothing is said of its lines.
"""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import replace

from functions.advise_image_layers.image import Image, Instruction, Script
from functions.advise_image_layers.sources.dockerfiles import Stage, Step, stages


def fitted(image: Image, text: str) -> Image | None:
    """The image with the lines, names and options that the Dockerfile tells; None if it is not of that Dockerfile."""
    found = stages(text)
    for stage in reversed(found):
        if (made := _of_stage(image, stage)) is not None:
            return made
    return None


def _of_stage(image: Image, stage: Stage) -> Image | None:
    if not stage.steps:
        return None
    end = len(image.instructions)
    while end >= len(stage.steps):
        start = end - len(stage.steps)
        pairs = list(zip(image.instructions[start:end], stage.steps, strict=True))
        if all(_agree(one, step) for one, step in pairs):
            break
        # The classic builder adds a LABEL for `--label`.
        if image.instructions[end - 1].word != "LABEL":
            return None
        end -= 1
    else:
        return None
    if stage.base == "scratch" and start:
        return None
    told = tuple(_told(one, step) for one, step in pairs)
    instructions = (*image.instructions[:start], *told, *image.instructions[end:])
    name = image.base_name or ("" if "$" in stage.base else stage.base)
    script = Script(stage.before, stage.after, stage.line)
    return replace(image, instructions=instructions, own=start, base_name=name, script=script)


def _told(one: Instruction, step: Step) -> Instruction:
    """What the Dockerfile adds to an instruction."""
    known = replace(one, flags=step.flags, lines=(step.first, step.last), said=step.text, body=step.body)
    if not one.copies:
        return known
    *names, target = _words(step.rest) or [""]
    known = replace(known, relative=not target.startswith("/"))
    return replace(known, sources=tuple(names)) if names and not _HEREDOC.search(step.rest) else known


_HEREDOC = re.compile(r"<<-?[\"']?\w")


def _agree(one: Instruction, step: Step) -> bool:
    if one.word != step.word:
        return False
    if "$" in step.rest or _HEREDOC.search(step.rest):
        return one.word != "RUN" or _HEREDOC.search(step.rest) is not None or _same(one.rest, step.rest)
    match one.word:
        case "RUN":
            return _same(one.rest, step.rest)
        case "COPY" | "ADD":
            words = _words(step.rest)
            return bool(words) and _same_target(one.target, words[-1])
        case "WORKDIR":
            return _same_target(one.rest, step.rest.strip("\"'"))
        case "USER" | "STOPSIGNAL":
            return one.rest.strip("/") == step.rest.strip("\"'").strip("/")
    return True


def _same(said: str, step: str) -> bool:
    """Whether a history's command is that of a step; one in JSON lost its commas and quotes in the history."""
    one, two = " ".join(said.split()), " ".join(step.split())
    if one == two:
        return True
    try:
        words, known = json.loads(step), json.loads(said)
    except (ValueError, RecursionError):
        return False
    listed = [isinstance(every, list) and all(isinstance(it, str) for it in every) for every in (words, known)]
    return all(listed) and " ".join(words).split() == " ".join(known).split()


def _same_target(absolute: str, said: str) -> bool:
    """Whether an absolute place can be what the step says, from whatever working directory."""
    tail = posixpath.normpath(posixpath.join("/", said)).strip("/")
    whole = absolute.strip("/")
    if said.startswith("/"):
        return whole == tail
    return tail == "" or ".." in said or whole == tail or whole.endswith(f"/{tail}")


def _words(rest: str) -> list[str]:
    """Sources and target of a copy, in either form."""
    if rest.startswith("["):
        try:
            found = json.loads(rest)
        except (ValueError, RecursionError):
            return rest.split()
        return [str(one) for one in found] if isinstance(found, list) else []
    return rest.split()
