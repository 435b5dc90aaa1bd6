"""A compiler that stays in an image: one that a command installs, or the base image has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from functions.advise_image_layers.commands import builds, compiler_installed
from functions.advise_image_layers.image import Image

_KITS = {
    "GOLANG_VERSION": "go",
    "RUSTUP_HOME": "rust",
    "GCC_VERSION": "gcc",
    "MAVEN_HOME": "maven",
    "GRADLE_HOME": "gradle",
    "SWIFT_VERSION": "swift",
    "DOTNET_SDK_VERSION": "the .NET SDK",
    "STACK_VERSION": "ghc",
}
"""Variables by which images of compilers name what they have: those of Docker's official images, and Microsoft's."""
_NAMED = re.compile(r"(?:.*/)?(golang|gcc|rust|maven|gradle|swift|haskell|buildpack-deps|dotnet/sdk)(?::.*)?")
_JDK = re.compile(r"(?:.*/)?(openjdk|eclipse-temurin|amazoncorretto)(?::(?!.*jre).*)?")


@dataclass(frozen=True)
class Compiler:
    """A compiler in an image: its `name`, and the `number` of the instruction that brings it, of all.

    `size` and `layers`: what an image without it has not, at most. `in_base`: the base image has it.
    """

    name: str
    number: int
    size: int
    layers: int
    in_base: bool = False


def compiler_of(image: Image) -> Compiler | None:
    """The first compiler that stays in the image; None if there is none. The base's counts if it is used."""
    if any(one.word == "RUN" and builds(one.rest) for one in image.own_instructions):
        in_base = _of_base(image)
        if in_base is not None:
            return in_base
    for number, one in enumerate(image.own_instructions, image.own):
        name = compiler_installed(one.rest) if one.word == "RUN" else ""
        if name:
            return Compiler(name, number, one.size, 1)
    return None


def _of_base(image: Image) -> Compiler | None:
    """That of the base image, as its history or its name tells; what came before it in the base may stay."""
    below = image.instructions[: image.own]
    for number, one in enumerate(below):
        name = compiler_installed(one.rest) if one.word == "RUN" else ""
        if one.word == "ENV":
            name = next((kit for known, kit in _KITS.items() if re.match(rf"{known}[= ]", one.rest)), "")
        if name:
            return _from(image, number, name)
    name = image.base_name.partition("@")[0]
    found = _NAMED.fullmatch(name) or _JDK.fullmatch(name)
    return _from(image, 0, found[1]) if found else None


def _from(image: Image, number: int, name: str) -> Compiler:
    layers = [one.size for one in image.instructions[number : image.own] if one.diff_id]
    return Compiler(name, number, sum(layers), len(layers), in_base=True)
