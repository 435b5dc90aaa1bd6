"""Which layers of an image are a frozen point in time: those of a command that upgrades all packages."""

from __future__ import annotations

import re

_APART = re.compile(r"[;&|\n(){}]+")
_ASSIGNED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_BEFORE = frozenset(
    {"sudo", "env", "exec", "then", "do", "else", "if", "/bin/sh", "/bin/bash", "sh", "bash", "RUN", "pipefail"}
)
_VERBS = {
    **dict.fromkeys(("apt-get", "apt", "aptitude"), frozenset({"upgrade", "dist-upgrade", "full-upgrade"})),
    **dict.fromkeys(("dnf", "microdnf", "yum", "zypper"), frozenset({"update", "upgrade", "dup"})),
    "apk": frozenset({"upgrade"}),
}
_TEXT = 8_000


def upgrades(instruction: str) -> bool:
    """Whether what the history says of a layer (`created_by`) upgrades all packages. It is outside text."""
    said = instruction[:_TEXT]
    if "#(nop)" in said:
        return False
    return any(_upgrades(part) for part in _APART.split(said))


def _upgrades(part: str) -> bool:
    words = [word.strip("\"'") for word in part.split()]
    # BuildKit and the classic builder put the shell, and the arguments of the build, before the command.
    while words and (
        _ASSIGNED.match(words[0]) or words[0] in _BEFORE or words[0].startswith("-") or words[0].isdigit()
    ):
        words.pop(0)
    if not words or words[0] not in _VERBS:
        return False
    said = [word for word in words[1:] if not word.startswith("-")]
    return bool(_VERBS[words[0]] & set(said))
