"""Base images on a build host: which packages one would have, bootstrapping, looking into and pushing one.

The documents of `functions/refresh_base_image/documents` do it: by the agent of SSM, or over a Docker socket in
containers of an image that has what a bootstrap takes.

A candidate is known by a key (32 hex digits) that its recipe and its packages make: whoever asks for the same again
finds what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from paydown.clients.base_contents import BaseRecipe, Candidate, Contents, read_contents, read_packages, read_progress
from paydown.clients.docker_builds import open_builder
from paydown.clients.docker_hosts.builder import UNFIT, BuilderContainer, Needs
from paydown.clients.docker_hosts.builds import Credentials
from paydown.clients.docker_hosts.logins import Login
from paydown.clients.docker_hosts.reading import one_line
from paydown.clients.docker_hosts.ssm import SsmHost
from paydown.errors import PermanentError
from paydown.inventory import Host, Ssm

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import GetCommandInvocationResultTypeDef

READ_DOCUMENT = "ReadBaseImage"
UNPACK_DOCUMENT = "UnpackBaseImage"
CONTENTS_DOCUMENT = "ReadBaseContents"
PUSH_DOCUMENT = "PushBaseImage"
FORGET_DOCUMENT = "ForgetBaseImage"

Parameters = dict[str, list[str]]


class Runner(Protocol):
    """What runs documents on a host, whichever way it is reached. All raise RetryableError and PermanentError."""

    def run(self, document: str, parameters: Parameters, needs: Needs = Needs.LOOK) -> str:
        """The whole output of a document."""

    def start(
        self, document: str, parameters: Parameters, needs: Needs = Needs.ENGINE, login: Login | None = None
    ) -> None:
        """Begin with one that takes long. Returns while it goes on. `login` takes the place of the host's own."""


class OverSsm(SsmHost):
    """The agent of SSM: it runs as root, so a document has what it needs."""

    def run(self, document: str, parameters: Parameters, needs: Needs = Needs.LOOK) -> str:  # noqa: ARG002 -- it has all
        """The whole output of a document."""
        return self._run(document, parameters)

    def start(
        self,
        document: str,
        parameters: Parameters,
        needs: Needs = Needs.ENGINE,  # noqa: ARG002 -- it has all
        login: Login | None = None,
    ) -> None:
        """Begin with one that takes long. Returns while it goes on. Raises PermanentError for a login."""
        if login:
            raise PermanentError(f"{self._name}: a login does not travel over SSM, which keeps what it is told")
        self._send(document, parameters, "")

    def _failure(self, invocation: GetCommandInvocationResultTypeDef) -> Exception:
        if invocation["ResponseCode"] == UNFIT:
            return PermanentError(f"{self._name}: {one_line(invocation['StandardErrorContent'])}")
        return super()._failure(invocation)


class BuildHost:
    """A host that builds base images."""

    def __init__(self, name: str, runner: Runner) -> None:
        self._name = name
        self._runner = runner

    def packages(self, recipe: BaseRecipe) -> dict[str, str]:
        """The versions of the packages that the recipe gives now, by `name/architecture`."""
        found = dict(read_packages(self._runner.run(recipe.list_document, recipe.parameters)))
        if not found:
            raise PermanentError(f"{self._name}: {recipe.list_document} names no package")
        return found

    def build(self, key: str, run_id: str, recipe: BaseRecipe) -> None:
        """Begin with a candidate, unless it is there or in the making. Returns at once."""
        parameters = {"Key": [key], "Run": [run_id], **recipe.parameters}
        self._runner.start(recipe.build_document, parameters, Needs.ROOT)

    def read(self, key: str) -> Candidate:
        """How far it is."""
        return read_progress(self._runner.run(READ_DOCUMENT, {"Key": [key]}))

    def unpack(self, image: str, run_id: str, login: Login | None = None) -> None:
        """Begin to list what is in an image, unless that is done or going on. Returns at once.

        It is a candidate (`paydown-base:KEY`), or an image of a registry (`registry/repository@digest`), which is
        pulled with `login`, or with the host's own.
        """
        self._runner.start(UNPACK_DOCUMENT, {"Image": [image], "Run": [run_id]}, login=login)

    def contents(self, image: str) -> Contents | Candidate:
        """What is in an image; how far that is, if it is not listed yet."""
        output = self._runner.run(CONTENTS_DOCUMENT, {"Image": [image]})
        try:
            read = read_contents(output)
        except ValueError as error:
            raise PermanentError(f"{self._name}: the list of files of {image} makes no sense: {error}") from error
        return read if read.files else read_progress(output)

    def push(self, key: str, run_id: str, name: str, login: Login | None = None) -> None:
        """Begin to push a candidate under a name, unless that is going on. Returns at once.

        With `login`, or with the host's own. It goes over a socket only: PermanentError over SSM.
        """
        self._runner.start(PUSH_DOCUMENT, {"Key": [key], "Run": [run_id], "Name": [name]}, login=login)

    def forget(self, key: str) -> bool:
        """Remove a candidate; False while something is being done with it."""
        output = self._runner.run(FORGET_DOCUMENT, {"Key": [key]}, Needs.ENGINE)
        return "running" not in output.splitlines()


def open_build_host(
    host: Host,
    *,
    documents: Path,
    builder: str = "",
    mark: str = "paydown",
    observing: bool = False,
    credentials: Callable[[], Credentials] = dict,
) -> BuildHost:
    """The build host. `documents` is the folder of what runs there.

    `builder` is the image in whose containers it runs on a host that is reached by unix or tcp; raises PermanentError
    if there is none. It is pulled with `credentials`.
    """
    if not isinstance(host.reach, Ssm) and not builder:
        raise PermanentError(needs_builder(host))
    runner = open_runner(
        host, documents=documents, builder=builder, mark=mark, observing=observing, credentials=credentials
    )
    return BuildHost(host.name, runner)


def open_runner(
    host: Host,
    *,
    documents: Path,
    builder: str,
    mark: str,
    observing: bool,
    credentials: Callable[[], Credentials],
) -> OverSsm | BuilderContainer:
    """What runs the documents of `documents` on a host: its agent, or containers of the image `builder`."""
    if isinstance(host.reach, Ssm):
        return OverSsm(host.name, host.reach.instance_id, mark=mark)
    return open_builder(host, builder, documents, mark=mark, observing=observing, credentials=credentials)


def needs_builder(host: Host) -> str:
    """Why nothing is bootstrapped on a host for which no builder is named."""
    return f"{host.ref} is reached by {host.reach.via}: the settings must name a `builder` image for a bootstrap there"
