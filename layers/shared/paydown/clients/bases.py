"""Base images on a build host: which packages one would have, bootstrapping, looking into and pushing one.

Only a host behind SSM can do it, with the documents of `functions/refresh_base_image/documents`: a Docker engine that
is reached over a socket runs containers, and a bootstrap needs rights that no container of ours gets.

A candidate is known by a key (32 hex digits) that its recipe and its packages make: whoever asks for the same again
finds what is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paydown.clients.base_contents import Candidate, Contents, Recipe, read_contents, read_packages, read_progress
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

_UNFIT = 12
"""The exit code of a document that trying again does not help."""


class BuildHost(SsmHost):
    """A host that builds base images."""

    def packages(self, recipe: Recipe) -> dict[str, str]:
        """The versions of the packages that the recipe gives now, by `name/architecture`."""
        found = dict(read_packages(self._run(recipe.list_document, recipe.parameters)))
        if not found:
            raise PermanentError(f"{self._name}: mmdebstrap names no package")
        return found

    def build(self, key: str, run_id: str, recipe: Recipe) -> None:
        """Begin with a candidate, unless it is there or in the making. Returns at once."""
        self._send(recipe.build_document, {"Key": [key], "Run": [run_id], **recipe.parameters}, "")

    def read(self, key: str) -> Candidate:
        """How far it is."""
        return read_progress(self._run(READ_DOCUMENT, {"Key": [key]}))

    def unpack(self, image: str, run_id: str) -> None:
        """Begin to list what is in an image, unless that is done or going on. Returns at once.

        It is a candidate (`paydown-base:KEY`), or an image of a registry (`registry/repository@digest`).
        """
        self._send(UNPACK_DOCUMENT, {"Image": [image], "Run": [run_id]}, "")

    def contents(self, image: str) -> Contents | Candidate:
        """What is in an image; how far that is, if it is not listed yet."""
        output = self._run(CONTENTS_DOCUMENT, {"Image": [image]})
        try:
            read = read_contents(output)
        except ValueError as error:
            raise PermanentError(f"{self._name}: the list of files of {image} makes no sense: {error}") from error
        return read if read.files else read_progress(output)

    def push(self, key: str, run_id: str, name: str) -> None:
        """Begin to push a candidate under a name, unless that is going on. Returns at once."""
        self._send(PUSH_DOCUMENT, {"Key": [key], "Run": [run_id], "Name": [name]}, "")

    def forget(self, key: str) -> bool:
        """Remove a candidate; False while something is being done with it."""
        return "running" not in self._run(FORGET_DOCUMENT, {"Key": [key]}).splitlines()

    def _failure(self, invocation: GetCommandInvocationResultTypeDef) -> Exception:
        if invocation["ResponseCode"] == _UNFIT:
            return PermanentError(f"{self._name}: {one_line(invocation['StandardErrorContent'])}")
        return super()._failure(invocation)


def open_build_host(host: Host, *, mark: str = "paydown") -> BuildHost:
    """The build host. Raises PermanentError for one that is not behind SSM."""
    if not isinstance(host.reach, Ssm):
        raise PermanentError(f"{host.ref} is reached by {host.reach.via}: a base image is bootstrapped over ssm only")
    return BuildHost(host.name, host.reach.instance_id, mark=mark)
