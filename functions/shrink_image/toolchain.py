"""What a program was compiled with, and how that links a static one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from functions.shrink_image.elf import Program

_RUST = re.compile(r"rustc version (\d+\.\d+(?:\.\d+)?)")
_GCC = re.compile(r"GCC: \([^)]*\) (\d+(?:\.\d+){0,2})")
_CLANG = re.compile(r"clang version (\d+(?:\.\d+){0,2})")
_CXX = ("libstdc++.so", "libc++.so")
_TARGETS = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "riscv64": "riscv64gc"}
_COMPILERS = re.compile(r"(?<![\w/.-])((?:[\w]+-linux-(?:gnu|musl)\w*-)?(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+))(?=\s)")
_GO = re.compile(r"(?<![\w/.-])(go (?:build|install))(?=\s|$)")
_CARGO = re.compile(r"(?<![\w/.-])(cargo build)(?=\s|$)")
_RUSTC = re.compile(r"(?<![\w/.-])(rustc)(?=\s)")
_ARGUMENTS = re.compile(r"^\|\d+ .*?(?=/\S*sh -c )", re.DOTALL)
_SHELL = re.compile(r"^(?:RUN )?/\S*sh -c (?!#\(nop\))")
COMMANDS = 3
COMMAND_MOST = 1_000


@dataclass(frozen=True)
class Toolchain:
    """`name` for people. `base` builds; `install` comes first there, `build` writes /out/app. `notes` go above it."""

    name: str
    base: str
    install: str
    build: str
    notes: tuple[str, ...] = ()


def toolchain(program: Program, content: bytes, history: Sequence[str]) -> Toolchain:
    """What made this program, by what compilers leave in it, and how it is linked with nothing beside it.

    Commands of the image's own history that compile are taken, with the flags that they lack.
    """
    found = _detected(program, content)
    commands = [command for line in history if (command := _compiles(line, program))][-COMMANDS:]
    if not commands:
        return found
    taken = "These commands are the image's own, with the flags for a static program; they must write /out/app."
    build = " \\\n && ".join(f"( {command} )" for command in commands)
    return Toolchain(found.name, found.base, found.install, build, (*found.notes, taken))


def _detected(program: Program, content: bytes) -> Toolchain:
    said = "\n".join(program.comments)
    if program.go:
        return Toolchain(
            f"Go {program.go}" if program.go != "1" else "Go",
            f"golang:{program.go}",
            "",
            "CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/app .",
        )
    if (rust := _RUST.search(said)) or b"/rustc/" in content:
        return _rust(program, rust[1] if rust else "1")
    cxx = any(name.startswith(_CXX) for name in program.needed)
    musl = "ld-musl" in program.interpreter or any("musl" in name for name in program.needed)
    return _c(program, said, cxx, musl)


def _rust(program: Program, version: str) -> Toolchain:
    target = f"{_TARGETS.get(program.machine, program.machine)}-unknown-linux-musl"
    return Toolchain(
        "Rust" if version == "1" else f"Rust {version}",
        f"rust:{version}",
        f"rustup target add {target} && apt-get update && apt-get install -y --no-install-recommends musl-tools",
        f"cargo build --release --locked --target {target} \\\n && install -D target/{target}/release/<name> /out/app",
        ("Put the name of your binary for <name>.",),
    )


def _c(program: Program, said: str, cxx: bool, musl: bool) -> Toolchain:
    gcc, clang = _GCC.search(said), _CLANG.search(said)
    version = f" {clang[1]}" if clang else f" {gcc[1]}" if gcc else ""
    compiler, language = ("g++", "C++") if cxx else ("gcc", "C")
    name = f"{language} ({'clang' if clang else 'gcc'}{version}, {'musl' if musl else 'glibc'})"
    files = "*.cc" if cxx else "*.c"
    build = f"{compiler} -O2 -static -o /out/app {files}"
    if musl or program.loading:
        notes = []
        if not musl:
            calls = ", ".join(program.loading)
            notes = [f"It calls {calls}: with these, a static glibc still loads libraries. musl does not."]
        return Toolchain(name, "alpine:<version>", "apk add --no-cache build-base", build, tuple(notes))
    return Toolchain(name, f"gcc:{gcc[1]}" if gcc else "gcc:<version>", "", build)


def _compiles(line: str, program: Program) -> str:
    """The command of a step that compiles, made to link statically; empty for other steps, and for long ones."""
    text = _ARGUMENTS.sub("", line.strip()).removesuffix(" # buildkit")
    if not _SHELL.match(text):
        return ""
    command = _SHELL.sub("", text).strip()
    fixed = "".join(_static(command, program))
    return fixed if fixed != command and len(fixed) <= COMMAND_MOST and fixed.isprintable() else ""


def _static(command: str, program: Program) -> Iterator[str]:
    target = f"{_TARGETS.get(program.machine, program.machine)}-unknown-linux-musl"
    for part in re.split(r"(&&|\|\||;)", command):
        if re.search(r"(?<![\w-])(?:install|add|update|upgrade)\s", part) and not _GO.search(part):
            yield part  # it installs a compiler
            continue
        changed = part if re.search(r"\s-(?:c|static)(?:\s|$)", part) else _COMPILERS.sub(r"\1 -static", part)
        changed = _GO.sub(r"CGO_ENABLED=0 \1", changed)
        changed = _CARGO.sub(rf"\1 --target {target}", changed)
        yield _RUSTC.sub(rf"\1 --target {target} -C target-feature=+crt-static", changed)
