"""Which blobs share the line, and which have it for themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from functions.promote_image.copying import BEGIN_SECONDS, LARGE, Place, copy_blobs
from functions.promote_image.image import Image

SIZES = {"sha256:a": 10, "sha256:b": LARGE + 1, "sha256:c": 20, "sha256:d": LARGE, "sha256:e": 30}


class Line:
    """Both registries: says what crossed, and what else was on its way at that moment."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.crossed: list[str] = []
        self.most_beside: dict[str, int] = {}
        self.now: set[str] = set()
        self.lock = threading.Lock()

    def has_blob(self, _: str, digest: str) -> bool:
        return digest in self.crossed

    def blob_chunks(self, _: str, digest: str) -> Iterator[bytes]:
        yield digest.encode()

    def upload_blob(self, _: str, digest: str, pieces: Any) -> None:
        assert list(pieces) == [digest.encode()]
        with self.lock:
            self.now.add(digest)
        time.sleep(0.02)
        with self.lock:
            for one in self.now:
                self.most_beside[one] = max(self.most_beside.get(one, 0), len(self.now) - 1)
            self.now.discard(digest)
            self.crossed.append(digest)


def copied(line: Line) -> int:
    api: Any = line
    return copy_blobs(Image("sha256:r", blobs=SIZES), Place(api, "from", "1"), Place(api, "to", "2"))


def test_a_large_blob_goes_alone_and_after_the_small_ones() -> None:
    line = Line()
    assert copied(line) == 0
    assert set(line.crossed[:3]) == {"sha256:a", "sha256:c", "sha256:e"}
    assert line.crossed[3:] == ["sha256:d", "sha256:b"]
    assert (line.most_beside["sha256:b"], line.most_beside["sha256:d"]) == (0, 0)


def test_what_is_not_begun_in_time_is_left_for_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    line, clock = Line(), [0.0]
    monkeypatch.setattr("functions.promote_image.copying.time.monotonic", lambda: clock[0])
    sent = line.upload_blob

    def slow(repository: str, digest: str, pieces: Any) -> None:
        sent(repository, digest, pieces)
        if SIZES[digest] >= LARGE:
            clock[0] += BEGIN_SECONDS + 1

    line.upload_blob = slow  # type: ignore[method-assign]  # slower with the large ones
    assert copied(line) == 1
    assert line.crossed[-1] == "sha256:d"
    assert copied(line) == 0
