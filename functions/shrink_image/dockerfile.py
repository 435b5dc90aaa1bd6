"""The Dockerfiles that are proposed. What they are made of comes from outside: it is quoted, or not said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from functions.shrink_image.original import Original
from functions.shrink_image.toolchain import Toolchain

_PLAIN = re.compile(r"[A-Za-z0-9_./@:+,=-]+")
_MODES = {0o755, 0o644}


def from_image(original: Original, name: str, paths: Sequence[str], made_up: Sequence[str]) -> str:
    """The Dockerfile whose image has these files of the original and nothing else; `made_up` cannot be copied as is."""
    lines = [f"FROM {name}@{original.digest} AS original", "", "FROM scratch"]
    lines += [_copy("original", path, path) for path in _short(paths) if path not in made_up]
    lines += _written(made_up)
    return _finished([*lines, *map(_single, _starting(original.config))])


def from_source(
    original: Original, name: str, program: str, tools: Toolchain, paths: Sequence[str], made_up: Sequence[str]
) -> str:
    """The Dockerfile that builds the program statically, and puts it into an empty image with what it needs.

    What goes along is taken from the original as it is now.
    """
    along = [path for path in _short(paths) if path not in made_up]
    lines = [f"# {note}" for note in tools.notes]
    lines += [f"FROM {tools.base} AS build"]
    lines += [f"RUN {tools.install}"] if tools.install else []
    lines += ["WORKDIR /src", "COPY . .", f"RUN mkdir -p /out \\\n && {tools.build}", ""]
    lines += [f"FROM {name}@{original.digest} AS original", ""] if along else []
    lines += ["FROM scratch", *(_copy("original", path, path) for path in along)]
    lines += _written(made_up)
    lines += [_copy("build", "/out/app", program)]
    return _finished([*lines, *map(_single, _starting(original.config))])


def _finished(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def _single(line: str) -> str:
    """One instruction; what has characters that could make several of it is left out."""
    return line if line.isprintable() else "# Something is left out here: it has characters that no Dockerfile can say."


def _short(paths: Sequence[str]) -> list[str]:
    """Files by the hundred below one folder are copied as that folder."""
    zones = "/usr/share/zoneinfo"
    return list(dict.fromkeys(zones if path.startswith(f"{zones}/") else path for path in paths))


def _copy(stage: str, source: str, target: str) -> str:
    origin = f"--from={stage}"
    if _PLAIN.fullmatch(source) and _PLAIN.fullmatch(target):
        return f"COPY {origin} {source} {target}"
    return f"COPY {origin} {json.dumps([source, target])}"


def _written(made_up: Sequence[str]) -> Iterator[str]:
    for path in made_up:
        yield f"# {path} holds the lines of its own user only: write it beside this file."
        yield f"COPY {path.rpartition('/')[2]} {path}"


def _starting(config: Mapping[str, Any]) -> Iterator[str]:
    """What the original's containers are started with."""
    for pair in _texts(config.get("Env")):
        name, _, value = pair.partition("=")
        yield f"ENV {name}={_quoted(value)}"
    for name, value in sorted((config.get("Labels") or {}).items()):
        yield f"LABEL {_quoted(str(name))}={_quoted(str(value))}"
    for port in sorted(config.get("ExposedPorts") or {}):
        yield f"EXPOSE {port}"
    if volumes := sorted(config.get("Volumes") or {}):
        yield f"VOLUME {json.dumps(volumes)}"
    for word, key in (("WORKDIR", "WorkingDir"), ("USER", "User"), ("STOPSIGNAL", "StopSignal")):
        if config.get(key):
            yield f"{word} {config[key]}"
    if check := _health(config.get("Healthcheck")):
        yield check
    for word in ("Entrypoint", "Cmd"):
        if config.get(word):
            yield f"{word.upper()} {json.dumps(_texts(config[word]))}"


def _health(check: Any) -> str:
    test = _texts(check.get("Test")) if isinstance(check, Mapping) else []
    if not test or test[0] == "CMD-SHELL":
        return ""
    if test[0] == "NONE":
        return "HEALTHCHECK NONE"
    names = (("Interval", "interval"), ("Timeout", "timeout"), ("StartPeriod", "start-period"))
    known = {name: value for name, value in check.items() if isinstance(value, int)}
    options = [f"--{option}={known[name] // 1_000_000}ms " for name, option in names if name in known]
    options += [f"--retries={known['Retries']} "] if "Retries" in known else []
    return f"HEALTHCHECK {''.join(options)}CMD {json.dumps(test[1:])}"


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w.,:/@%+-]+", value):
        return value
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'
