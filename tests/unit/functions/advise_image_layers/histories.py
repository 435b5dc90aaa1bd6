"""Images as registries describe them, from what builders write into histories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from functions.advise_image_layers.image import Image, image_of

CREATED = "2026-01-10T10:00:00.123456789Z"
Entry = tuple[str, str, int]
"""What the history says, the content of the layer (empty: it made none), and its size."""


def documents(entries: Sequence[Entry], **config: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and configuration."""
    layers = [{"digest": f"sha256:{content}", "size": size} for _, content, size in entries if content]
    history = [
        {"created": CREATED, "created_by": said, **({} if content else {"empty_layer": True})}
        for said, content, _ in entries
    ]
    diff_ids = [f"sha256:{content}" for _, content, _ in entries if content]
    told = {"history": history, "rootfs": {"diff_ids": diff_ids}, "config": config, "docker_version": "20.10.24"}
    return {"layers": layers}, told


def image(*entries: Entry, digest: str = "sha256:now", **config: Any) -> Image:
    """The image with this history."""
    return image_of(*documents(entries, **config), digest)


def copied(target: str, content: str, size: int = 5_000_000, word: str = "COPY", kind: str = "file") -> Entry:
    """What the classic builder writes of a copy; `content` is one hexadecimal digit."""
    return (f"/bin/sh -c #(nop) {word} {kind}:{content * 64} in {target} ", content + target, size)


def kit(said: str, content: str, size: int = 5_000_000) -> Entry:
    """What BuildKit writes."""
    return (f"{said} # buildkit", content, size)


def ran(command: str, content: str = "r", size: int = 5_000_000) -> Entry:
    """What both write of RUN in its shell form."""
    return (f"/bin/sh -c {command}", content, size)


def nop(said: str) -> Entry:
    """What the classic builder writes of an instruction that makes no layer."""
    return (f"/bin/sh -c #(nop)  {said}", "", 0)
