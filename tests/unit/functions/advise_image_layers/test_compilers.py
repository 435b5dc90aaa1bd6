"""Compilers that stay in an image, and the Dockerfile with a stage of its own for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from functions.advise_image_layers.advice import Advice, Limits, advise
from functions.advise_image_layers.commands import builds, compiled, compiler_installed
from functions.advise_image_layers.sources.fitting import fitted
from tests.unit.functions.advise_image_layers.histories import Entry, copied, image, nop, ran

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS = Limits(saving_bytes=1_000_000, saving_layers=2, upgrade_age=timedelta(days=30))
BASE = [copied("/", "e"), nop('CMD ["bash"]')]
LEFT = "# Left in the stage that builds; does the image need what they make or bring when it runs?"
GO = [*BASE, nop("ENV GOLANG_VERSION=1.22"), ran("wget go", "1"), nop('CMD ["bash"]')]


def alone(*entries: Entry, dockerfile: str = "", **config: object) -> list[Advice]:
    shown = image(*entries, **config)
    known = fitted(shown, dockerfile) if dockerfile else shown
    assert known is not None
    return [one for one in advise(known, None, LIMITS, NOW).advice if one.rule == "compiler-left"]


def test_a_compiler_that_stays() -> None:
    [one] = alone(
        *BASE,
        ran("apt-get update && apt-get install -y gcc libc6-dev", "a"),
        nop("WORKDIR /src"),
        copied("/src/", "b"),
        ran("gcc -O2 -o hello hello.c && cp hello /usr/bin", "c"),
        ran("adduser app", "d"),
        copied("/etc/hello.conf", "d"),
        nop("USER app"),
        nop('CMD ["/src/hello"]'),
    )
    assert (one.rule, one.asks, one.saves_bytes) == ("compiler-left", True, 5_000_000)
    assert one.dockerfile.splitlines()[2:] == [
        "FROM <your base image> AS build",
        "RUN apt-get update && apt-get install -y gcc libc6-dev",
        "WORKDIR /src",
        "COPY <file:bbbbbbbbbbbb> /src/",
        "RUN gcc -O2 -o hello hello.c && cp hello /usr/bin",
        "RUN adduser app",
        "COPY <file:dddddddddddd> /etc/hello.conf",
        "USER app",
        "",
        LEFT,
        "#   RUN apt-get update && apt-get install -y gcc libc6-dev",
        "#   COPY <file:bbbbbbbbbbbb> /src/",
        "#   RUN gcc -O2 -o hello hello.c && cp hello /usr/bin",
        "#   RUN adduser app",
        "FROM <your base image>",
        "WORKDIR /src",
        "COPY --from=build /src/hello /src/hello",
        "COPY <file:dddddddddddd> /etc/hello.conf",
        "USER app",
        'CMD ["/src/hello"]',
    ]


def test_what_is_built_where_the_compiler_is_installed() -> None:
    command = "apt-get install -y gcc && gcc -o /a /a.c"
    [one] = alone(*BASE, copied("/a.c", "1"), ran(command, "2"), copied("/conf", "3"))
    assert one.dockerfile.splitlines()[-5:] == [
        "#   COPY <file:111111111111> /a.c",
        f"#   RUN {command}",
        "FROM <your base image>",
        "COPY --from=build /a /a",
        "COPY <file:333333333333> /conf",
    ]


TEXT = """# syntax is plain
ARG V=1
FROM base:1 AS deps
RUN fetch

FROM --platform=linux/amd64 \\
  base:2 AS final
COPY --from=deps /deps /deps
RUN apk add gcc
WORKDIR /src
COPY a.c b.c ./
COPY --chown=7 conf ./
RUN gcc -o /a a.c b.c
CMD ["/a"]

FROM final AS test
RUN try
"""


def test_with_the_dockerfile_at_hand_the_other_stages_stay() -> None:
    [one] = alone(
        *BASE,
        copied("/deps", "1"),
        ran("apk add gcc", "2"),
        nop("WORKDIR /src"),
        copied("/src/", "3"),
        copied("/elsewhere/", "4"),
        ran("gcc -o /a a.c b.c", "5"),
        nop('CMD ["/a"]'),
        dockerfile=TEXT.replace("conf ./", "conf /elsewhere/"),
    )
    lines = one.dockerfile.splitlines()
    assert lines[:5] == TEXT.splitlines()[:5]
    assert lines[5:] == [
        "FROM --platform=linux/amd64 base:2 AS build",
        "COPY --from=deps /deps /deps",
        "RUN apk add gcc",
        "WORKDIR /src",
        "COPY a.c b.c ./",
        "COPY --chown=7 conf /elsewhere/",
        "RUN gcc -o /a a.c b.c",
        "",
        LEFT,
        "#   RUN apk add gcc",
        "#   COPY a.c b.c /src/",
        "#   RUN gcc -o /a a.c b.c",
        "FROM --platform=linux/amd64 base:2 AS final",
        "COPY --from=deps /deps /deps",
        "WORKDIR /src",
        "COPY --chown=7 conf /elsewhere/",
        "COPY --from=build /a /a",
        'CMD ["/a"]',
        "",
        "FROM final AS test",
        "RUN try",
    ]


def test_a_stage_called_build_keeps_its_name() -> None:
    text = 'FROM x AS build\nRUN fetch\nFROM y\nRUN apt-get install gcc\nRUN gcc -o /a a.c\nCMD ["/a"]\n'
    steps = [ran("apt-get install gcc", "2"), ran("gcc -o /a a.c", "5"), nop('CMD ["/a"]')]
    [one] = alone(*BASE, *steps, dockerfile=text)
    assert "FROM y AS compile\n" in one.dockerfile
    assert "COPY --from=compile /a /a\n" in one.dockerfile


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ([*BASE, ran("apt-get install -y gcc libc-dev", "1"), nop('CMD ["bash"]')], "gcc"),
        (GO, "go"),
        ([*BASE, nop("ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/c"), ran("x", "1"), nop('CMD ["sh"]')], "rust"),
    ],
)
def test_a_base_image_with_a_compiler(base: list[Entry], name: str) -> None:
    [one] = alone(*base, nop("WORKDIR /src"), copied("/src/", "b"), ran("go build -o /app .", "c"))
    assert (one.asks, one.saves_bytes, one.saves_layers, one.number) == (True, 5_000_000, 1, 0)
    assert f"The base image has {name}" in one.text
    assert one.dockerfile.splitlines()[-4:] == [
        "#   RUN go build -o /app .",
        "FROM <a base image without the compiler>",
        "WORKDIR /src",
        "COPY --from=build /app /app",
    ]


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("golang:1.22", True),
        ("docker.io/library/rust", True),
        ("mcr.example.com/dotnet/sdk:8.0", True),
        ("eclipse-temurin:21", True),
        ("eclipse-temurin:21-jre", False),
        ("debian:12", False),
        ("golang-app:1", False),
    ],
)
def test_a_base_image_named_after_its_compiler(base: str, said: bool) -> None:
    steps = [copied("/", "e"), copied("/src/", "b"), ran("make app", "c")]
    text = f"FROM {base}\nCOPY . /src/\nRUN make app\n"
    assert len(alone(*steps, dockerfile=text)) == said


def test_a_base_whose_compiler_is_not_used_is_left_alone() -> None:
    assert alone(*GO, copied("/app", "a")) == []
    assert alone(*GO, copied("/app", "a"), ran("adduser x", "b")) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("apt-get install -y --no-install-recommends build-essential", "build-essential"),
        ("DEBIAN_FRONTEND=noninteractive apt-get -y install g++-12 curl", "g++-12"),
        ("apk add --no-cache go=1.2", "go"),
        ("dnf install -y gcc-c++", "gcc-c++"),
        ("apt-get install gcc && make && apt-get purge -y gcc", ""),
        ("apt-get install gcc-doc", ""),
        ("echo apt-get install gcc", ""),
    ],
)
def test_compilers_are_known(command: str, name: str) -> None:
    assert compiler_installed(command).partition("=")[0] == name


def test_what_is_built() -> None:
    assert compiled("go build -o /bin/x ./cmd; gcc a.c -o b && tar -o c") == ["/bin/x", "b"]


@pytest.mark.parametrize(
    ("command", "said"),
    [("cd x && make -j4", True), ("CGO=0 /usr/local/go/bin/go build", True), ("./mvnw package", True), ("ls", False)],
)
def test_what_builds(command: str, said: bool) -> None:
    assert builds(command) == said
