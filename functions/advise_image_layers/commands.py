"""What shell commands of a Dockerfile do with packages and compilers, read word by word. They are outside text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_MANAGERS = frozenset({"apt-get", "apt", "aptitude", "apk", "dnf", "microdnf", "yum", "zypper"})
_INSTALL = frozenset({"install", "add", "in", "groupinstall"})
_REMOVE = frozenset({"purge", "remove", "autoremove", "del", "erase", "rm"})
_COMPILER = re.compile(
    r"build-essential|build-base|gcc(-c\+\+|-[0-9.]+)?|g\+\+(-[0-9.]+)?|clang(-[0-9.]+)?|golang(-go|-[0-9.]+)?|go|rustc"
    r"|cargo|gfortran|ghc|fpc|nasm|default-jdk(-headless)?|openjdk-?[0-9]+-jdk(-headless)?"
)
_BUILDERS = frozenset({"gcc", "g++", "cc", "c++", "clang", "clang++", "go", "rustc", "gfortran", "ghc", "nasm", "ld"})
_MAKERS = _BUILDERS | {"make", "cmake", "ninja", "meson", "bazel", "cargo", "mvn", "gradle", "./mvnw", "./gradlew"}
_MAKERS |= {"ant", "./configure", "javac", "sbt", "stack", "cabal", "npm", "yarn", "pnpm", "tsc", "dotnet", "swift"}
"""What builds, or runs what builds."""
_APART = re.compile(r"[;&|\n(){}]+")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def compiler_installed(command: str) -> str:
    """The first compiler that it installs, and does not remove again; else empty."""
    found = ""
    for words in _simple(command):
        if words[0] not in _MANAGERS:
            continue
        said = _plain(words)
        verb = said[0] if said else ""
        if verb in _REMOVE:
            return ""
        if verb in _INSTALL:
            found = found or next((name for name in said[1:] if _COMPILER.fullmatch(name.partition("=")[0])), "")
    return found


def compiled(command: str) -> list[str]:
    """The paths that its compilers are told to write to (`-o PATH`)."""
    found = []
    for words in _simple(command):
        if words[0].rpartition("/")[2] in _BUILDERS:
            found += [path for option, path in pairwise(words) if option == "-o"]
    return found


def builds(command: str) -> bool:
    """Whether it runs a compiler, or what runs compilers."""
    return any(words[0] in _MAKERS or words[0].rpartition("/")[2] in _MAKERS for words in _simple(command))


def _simple(command: str) -> Iterator[list[str]]:
    """The words of each simple command, without assignments before it and without quotes."""
    for part in _APART.split(command):
        words = [word.strip("\"'") for word in part.split()]
        while words and (_ASSIGNED.match(words[0]) or words[0] in ("sudo", "env", "exec", "then", "do", "else", "if")):
            words.pop(0)
        if words:
            yield words


def _plain(words: list[str]) -> list[str]:
    """What follows the name of the program, without options."""
    return [word for word in words[1:] if not word.startswith("-")]
