"""What loads the program that an image starts: the interpreter of a dynamic ELF file, read with pyelftools.

https://github.com/eliben/pyelftools. The file is hostile, and only its first bytes are here.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SEGMENTS = 128
INTERPRETER_MOST = 4_096
FOLDERS = 50


def interpreter_of(head: bytes) -> str:
    """The interpreter that an ELF file asks for; empty if none, or if the headers make no sense."""
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        file = ELFFile(io.BytesIO(head))
        if file.num_segments() > SEGMENTS:
            return ""
        for segment in file.iter_segments():
            if segment["p_type"] == "PT_INTERP":
                raw = head[segment["p_offset"] : segment["p_offset"] + min(segment["p_filesz"], INTERPRETER_MOST)]
                return raw.partition(b"\x00")[0].decode("utf-8", "replace")
    except (ELFError, ConstructError, ValueError, LookupError, TypeError, AttributeError, AssertionError):
        return ""
    except (OverflowError, MemoryError, RecursionError):
        return ""
    return ""


def started(config: Mapping[str, Any]) -> list[str]:
    """Where the program may lie that containers of this configuration start, in the order in which it is looked for."""
    words = [*_words(config.get("Entrypoint")), *_words(config.get("Cmd"))]
    if not words or not words[0]:
        return []
    folder = config.get("WorkingDir")
    folder = posixpath.join("/", folder) if isinstance(folder, str) else "/"
    if "/" in words[0]:
        return [posixpath.join(folder, words[0])]
    told = dict(one.partition("=")[::2] for one in _words(config.get("Env")))
    folders = (told.get("PATH") or PATH).split(":")[:FOLDERS]
    return [posixpath.join("/", one, words[0]) for one in folders if one]


def _words(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
