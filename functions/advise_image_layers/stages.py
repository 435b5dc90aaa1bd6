"""A compiler that stays in an image, and the Dockerfile with a stage of its own for it."""

from __future__ import annotations

import posixpath

from functions.advise_image_layers.commands import compiled
from functions.advise_image_layers.dockerfile import base_of, finished, said
from functions.advise_image_layers.image import Image

ELSEWHERE = "/where/it/was/built"
"""Stands for what is built, where no command says it."""
_BUILDING = frozenset({"COPY", "ADD", "RUN", "WORKDIR", "ENV", "ARG", "SHELL", "USER"})
_STARTING = frozenset({"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "STOPSIGNAL", "USER", "VOLUME"})


def multi_stage(image: Image, compiler: int) -> str:
    """The Dockerfile whose first stage builds as the image does now, and whose second gets what was built.

    `compiler` is the number of the instruction that installs it. What it builds is read from `-o`; where nothing says
    it, a name stands that has to be replaced.
    """
    folder, built = "/", []
    for number, one in enumerate(image.instructions):
        if one.word == "WORKDIR":
            folder = posixpath.join(folder, one.rest)
        if one.word == "RUN" and number >= compiler:
            built += [posixpath.normpath(posixpath.join(folder, path)) for path in compiled(one.rest)]
    own, base = image.own_instructions, base_of(image)
    lines = [f"{base} AS build"]
    lines += [said(image, one) for one in own if one.word in _BUILDING]
    lines += ["", base]
    lines += [f"COPY --from=build {path} {path}" for path in dict.fromkeys(built) or (ELSEWHERE,)]
    lines += [f"WORKDIR {folder}"] if folder != "/" else []
    lines += [said(image, one) for one in own if one.word in _STARTING]
    return finished(lines)
