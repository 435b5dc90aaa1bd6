"""Builds on a Docker host that outlive whoever asked for them: begun, looked at, and pushed by documents there.

The documents of `functions/rebuild_stale_images/documents` do it: by the agent of SSM, with the host's own login, or
over a Docker socket in containers, which are given a login. A build is known by its mark (40 hex digits), which the
image carries as a label, too: it happens once for each mark, and its image has no name of a registry until it is
pushed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paydown.clients.docker_hosts.builds import Log
from paydown.clients.docker_hosts.reading import one_line

if TYPE_CHECKING:
    from paydown.clients.bases import Runner
    from paydown.clients.docker_hosts.logins import Login

BUILD_DOCUMENT = "RebuildImage"
READ_DOCUMENT = "ReadRebuild"
PUSH_DOCUMENT = "PushRebuild"


@dataclass(frozen=True)
class Recipe:
    """What is built: `source` is `https://HOST/PATH.git#REF:FOLDER`, `dockerfile` a path in it.

    It is stopped after `seconds`, and when fewer than `free` MiB are left where the engine has its images.
    """

    source: str
    dockerfile: str = "Dockerfile"
    seconds: int = 3_600
    free: int = 1_024

    @property
    def parameters(self) -> dict[str, list[str]]:
        """As the document takes it."""
        return {
            "Source": [self.source],
            "Dockerfile": [self.dockerfile],
            "Seconds": [str(self.seconds)],
            "Free": [str(self.free)],
        }


@dataclass(frozen=True)
class Progress:
    """How far a build is. `running`: it is built, or pushed. `image` is what was built; `log` the end of what was said.

    One that was begun, and neither runs nor failed nor has an image, was killed.
    """

    running: bool = False
    begun: bool = False
    pushed: bool = False
    failed: str = ""
    image: str = ""
    log: tuple[str, ...] = ()

    @property
    def killed(self) -> bool:
        """Whether it ended without a word."""
        return self.begun and not (self.running or self.failed or self.image)

    def told(self, why: str, hidden: Iterable[str] = ()) -> str:
        """Why it came to nothing, with the end of its log, in which none of the passwords `hidden` is shown."""
        log = Log(hidden)
        log.add("\n".join(self.log))
        return f"{why}: {log}" if self.log else why


class RebuildHost:
    """A host that builds images anew. All raise RetryableError and PermanentError.

    A `login` takes the place of the host's own; over SSM none is taken.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def start(self, mark: str, recipe: Recipe, login: Login | None = None) -> None:
        """Begin with a build, unless it was begun before, or others have all the room. Returns while it goes on."""
        self._runner.start(BUILD_DOCUMENT, {"Mark": [mark], **recipe.parameters}, login=login)

    def read(self, mark: str) -> Progress:
        """How far it is."""
        return read_progress(self._runner.run(READ_DOCUMENT, {"Mark": [mark]}))

    def push(self, mark: str, name: str, login: Login | None = None) -> None:
        """Begin to push what was built as `registry/repository:tag`, unless that goes on. Returns while it does."""
        self._runner.start(PUSH_DOCUMENT, {"Mark": [mark], "Name": [name]}, login=login)


def read_progress(output: str) -> Progress:
    """How far a build is, as its document tells it."""
    said: dict[str, str] = {}
    log: list[str] = []
    for line in output.split("\n"):  # what a build said may hold any other end of a line
        word, _, rest = line.partition(" ")
        if word == "log":
            log.append(rest)
        else:
            said[word] = rest
    return Progress(
        running="running" in said,
        begun="begun" in said,
        pushed="pushed" in said,
        failed=one_line(said.get("failed", "")),
        image=said.get("image", ""),
        log=tuple(log),
    )
