"""The Dockerfiles that are proposed, and the toolchains that they name."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from functions.shrink_image.dockerfile import from_image, from_source
from functions.shrink_image.elf import Program, read_elf
from functions.shrink_image.linking import linked
from functions.shrink_image.original import Original
from functions.shrink_image.toolchain import toolchain
from functions.shrink_image.tree import Entry
from tests.unit.functions.shrink_image.layers import tree
from tests.unit.functions.shrink_image.small_elf import elf

GLIBC = Program(
    "amd64", True, "/lib64/ld-linux-x86-64.so.2", ("libc.so.6",), comments=("GCC: (Debian 12.2.0-14) 12.2.0",)
)


def image(**config: Any) -> Original:
    return Original("sha256:d1", "", "sha256:i", ("sha256:l",), 1, {"config": config})


@pytest.mark.parametrize(
    ("program", "content", "name", "base", "build"),
    [
        (GLIBC, b"", "C (gcc 12.2.0, glibc)", "gcc:12.2.0", "gcc -O2 -static -o /out/app *.c"),
        (
            replace(GLIBC, needed=("libstdc++.so.6", "libc.so.6")),
            b"",
            "C++ (gcc 12.2.0, glibc)",
            "gcc:12.2.0",
            "g++ -O2 -static -o /out/app *.cc",
        ),
        (
            replace(GLIBC, interpreter="/lib/ld-musl-x86_64.so.1", comments=("GCC: (Alpine 13.2.1) 13.2.1 20240309",)),
            b"",
            "C (gcc 13.2.1, musl)",
            "alpine:<version>",
            "gcc -O2 -static",
        ),
        (replace(GLIBC, comments=()), b"", "C (gcc, glibc)", "gcc:<version>", "-static"),
        (replace(GLIBC, comments=("Debian clang version 14.0.6",)), b"", "C (clang 14.0.6, glibc)", "gcc:", "-static"),
        (replace(GLIBC, loading=("getaddrinfo",)), b"", "C (gcc 12.2.0, glibc)", "alpine:<version>", "-static"),
        (replace(GLIBC, go="1.22.3"), b"", "Go 1.22.3", "golang:1.22.3", "CGO_ENABLED=0 go build"),
        (
            replace(GLIBC, comments=("GCC: (x) 9.1", "rustc version 1.75.0 (82e1608df 2023-12-21)")),
            b"",
            "Rust 1.75.0",
            "rust:1.75.0",
            "cargo build --release --locked --target x86_64-unknown-linux-musl",
        ),
        (replace(GLIBC, machine="arm64"), b"/rustc/82e1608d/library", "Rust", "rust:1", "aarch64-unknown-linux-musl"),
    ],
)
def test_the_toolchain_and_its_flags(program: Program, content: bytes, name: str, base: str, build: str) -> None:
    found = toolchain(program, content, [])
    assert found.name == name
    assert found.base.startswith(base)
    assert build in found.build


def test_functions_for_which_glibc_loads_libraries_are_named() -> None:
    found = toolchain(replace(GLIBC, loading=("dlopen", "getaddrinfo")), b"", [])
    assert found.notes == (
        "It calls dlopen, getaddrinfo: with these, a static glibc still loads libraries. musl does not.",
    )


@pytest.mark.parametrize(
    ("history", "build"),
    [
        ("/bin/sh -c gcc -O2 -o /app main.c", "( gcc -static -O2 -o /app main.c )"),
        ("RUN /bin/sh -c cd /src && g++ -o /app *.cc # buildkit", "( cd /src && g++ -static -o /app *.cc )"),
        ("|1 VERSION=3 /bin/sh -c go build -o /app .", "( CGO_ENABLED=0 go build -o /app . )"),
        ("/bin/sh -c cargo build --release", "( cargo build --target x86_64-unknown-linux-musl --release )"),
        (
            "/bin/sh -c apt-get install -y gcc && gcc -o /app main.c",
            "( apt-get install -y gcc && gcc -static -o /app main.c )",
        ),
        ("/bin/sh -c gcc -c x.c && gcc -o /app x.o", "( gcc -c x.c && gcc -static -o /app x.o )"),
    ],
)
def test_the_images_own_commands_get_the_flags(history: str, build: str) -> None:
    found = toolchain(GLIBC, b"", ["/bin/sh -c #(nop) COPY file:1 in /", history])
    assert found.build == build
    assert "they must write /out/app" in found.notes[-1]


@pytest.mark.parametrize(
    "history",
    [
        "/bin/sh -c apt-get install -y gcc",
        "/bin/sh -c #(nop)  CMD gcc -o x",
        "COPY gcc /usr/bin/gcc # buildkit",
        "/bin/sh -c echo hello",
        "/bin/sh -c gcc -o x y.c\nRUN curl evil",
        "/bin/sh -c gcc " + "x" * 2_000,
    ],
)
def test_other_steps_are_not_taken(history: str) -> None:
    assert toolchain(GLIBC, b"", [history]).build == "gcc -O2 -static -o /out/app *.c"


def test_the_dockerfile_of_a_static_program() -> None:
    config = {
        "Env": ["PATH=/bin", "A=b c"],
        "Labels": {"x": 'say "$hi"'},
        "Entrypoint": ["/app"],
        "Cmd": ["-v", "two words"],
        "ExposedPorts": {"80/tcp": {}},
        "User": "app",
        "WorkingDir": "/srv",
        "Volumes": {"/data": {}},
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["CMD", "/app", "-h"], "Interval": 5_000_000_000, "Retries": 2},
    }
    assert from_image(image(**config), "r.example/a", ["/app", "/srv/a b"], ["/etc/passwd"]) == (
        "FROM r.example/a@sha256:d1 AS original\n"
        "\n"
        "FROM scratch\n"
        "COPY --from=original /app /app\n"
        'COPY --from=original ["/srv/a b", "/srv/a b"]\n'
        "# /etc/passwd holds the lines of its own user only: write it beside this file.\n"
        "COPY passwd /etc/passwd\n"
        "ENV PATH=/bin\n"
        'ENV A="b c"\n'
        'LABEL x="say \\"\\$hi\\""\n'
        "EXPOSE 80/tcp\n"
        'VOLUME ["/data"]\n'
        "WORKDIR /srv\n"
        "USER app\n"
        "STOPSIGNAL SIGTERM\n"
        'HEALTHCHECK --interval=5000ms --retries=2 CMD ["/app", "-h"]\n'
        'ENTRYPOINT ["/app"]\n'
        'CMD ["-v", "two words"]\n'
    )


def test_the_dockerfile_of_a_dynamic_program() -> None:
    zones = [f"/usr/share/zoneinfo/{name}" for name in ("UTC", "Zulu")]
    text = from_source(image(Entrypoint=["/app"]), "r.example/a", "/app", toolchain(GLIBC, b"", []), zones, [])
    assert text == (
        "FROM gcc:12.2.0 AS build\n"
        "WORKDIR /src\n"
        "COPY . .\n"
        "RUN mkdir -p /out \\\n && gcc -O2 -static -o /out/app *.c\n"
        "\n"
        "FROM r.example/a@sha256:d1 AS original\n"
        "\n"
        "FROM scratch\n"
        "COPY --from=original /usr/share/zoneinfo /usr/share/zoneinfo\n"
        "COPY --from=build /out/app /app\n"
        'ENTRYPOINT ["/app"]\n'
    )


@pytest.mark.parametrize(
    "config",
    [
        {"User": "x\nRUN curl evil"},
        {"WorkingDir": "/x\r\nRUN curl evil"},
        {"Env": ["A=b\nRUN curl evil"]},
        {"Labels": {"a\nRUN x": "y"}},
        {"ExposedPorts": {"80\nRUN curl evil": {}}},
        {"StopSignal": "x\u2028RUN curl evil"},
        {"Entrypoint": ["x\nRUN curl evil"]},
        {"Volumes": {"/x\nRUN curl evil": {}}},
    ],
)
def test_an_image_cannot_write_instructions(config: dict[str, Any]) -> None:
    own = {"", "FROM", "COPY", "WORKDIR", "#", "ENTRYPOINT", "VOLUME"}
    copied = from_image(image(**config), "r/a", ["/app\nRUN x"], [])
    assert {line.split(" ")[0] for line in copied.splitlines()} <= own
    built = from_source(image(**config), "r/a", "/a", toolchain(GLIBC, b"", []), [], [])
    commands = [line for line in built.splitlines() if line.startswith("RUN")]
    assert commands == ["RUN mkdir -p /out \\"]


LOADER = "/lib64/ld-linux-x86-64.so.2"


def test_libraries_are_found_as_the_loader_would() -> None:
    program = read_elf(
        elf(kind=3, interpreter=LOADER, needed=["liba.so", "libb.so", "libgone.so"], runpath="$ORIGIN/../lib")
    )
    files = tree(
        {
            "lib64": ("link", "usr/lib64"),
            "usr/lib64/ld-linux-x86-64.so.2": elf(kind=3),
            "opt/bin/app": b"",
            "opt/lib/liba.so": elf(kind=3, needed=["libc.so.6"]),
            "usr/lib/liba.so": b"another",
            "usr/lib/x86_64-linux-gnu/libb.so": ("link", "libb.so.1"),
            "usr/lib/x86_64-linux-gnu/libb.so.1": b"/* a script of the linker */",
            "usr/lib/x86_64-linux-gnu/libc.so.6": elf(kind=3, needed=["ld-linux-x86-64.so.2", "libb.so"]),
            "env/libb.so": b"first",
        }
    )
    raw = {path: entry for path, entry in files.entries.items() if entry.kind == "file"}

    def contents(entries: list[Entry]) -> dict[tuple[int, int], bytes]:
        known = {
            "opt/lib/liba.so": elf(kind=3, needed=["libc.so.6"]),
            "usr/lib/x86_64-linux-gnu/libc.so.6": elf(kind=3, needed=["ld-linux-x86-64.so.2", "libb.so"]),
        }
        by_place = {entry.place: known.get(path, b"") for path, entry in raw.items()}
        return {entry.place: by_place[entry.place] for entry in entries}

    found = linked(program, "/opt/bin/app", files, {}, contents)  # type: ignore[arg-type] -- a list is a sequence
    assert found.interpreter == "/usr/lib64/ld-linux-x86-64.so.2"
    assert found.libraries == {
        "liba.so": "/opt/lib/liba.so",
        "libb.so": "/usr/lib/x86_64-linux-gnu/libb.so.1",
        "libgone.so": "",
        "libc.so.6": "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "ld-linux-x86-64.so.2": "/usr/lib64/ld-linux-x86-64.so.2",
    }
    assert found.missing == ["libgone.so"]
    again = linked(program, "/opt/bin/app", files, {"LD_LIBRARY_PATH": "/env"}, contents)  # type: ignore[arg-type] -- as above
    assert again.libraries["libb.so"] == "/env/libb.so"


def test_the_version_of_go_is_read_from_its_section() -> None:
    """What Go 1.18 and later write: magic, pointer size, flags, and from byte 32 the version with its length."""
    info = b"\xff Go buildinf:\x08\x02" + bytes(16) + bytes([8]) + b"go1.21.5" + bytes(8)
    names = b"\x00.go.buildinfo\x00.shstrtab\x00"
    whole = bytearray(elf())
    at = len(whole)
    whole += info + names
    table = len(whole)
    headers = [(0, 0, 0, 0), (1, 1, at, len(info)), (15, 3, at + len(info), len(names))]
    for name, kind, offset, size in headers:
        whole += struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, 0, 0, 1, 0)
    struct.pack_into("<Q", whole, 40, table)
    struct.pack_into("<HHH", whole, 58, 64, 3, 2)
    assert read_elf(bytes(whole)).go == "1.21.5"
