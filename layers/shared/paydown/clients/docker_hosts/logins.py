"""A login for one container, in place of that of its host: for a registry whose logins do not last, say."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping

from paydown.clients.docker_hosts.builds import Credentials

FOLDER = "paydown-login"
"""At the root of the container's own files, with which it goes."""

Login = Mapping[str, Credentials]
"""Who we are to a registry, by its host."""


def archive(login: Login) -> bytes:
    """The folder with the file that the docker command reads logins from, for root alone, as a tar archive.

    A file of a container, unlike its environment and its command, is in no answer of the engine about it.
    """
    import tarfile

    auths = {
        host: {"auth": base64.b64encode(f"{one['username']}:{one['password']}".encode()).decode()}
        for host, one in login.items()
    }
    content = json.dumps({"auths": auths}).encode()
    folder, entry = tarfile.TarInfo(FOLDER), tarfile.TarInfo(f"{FOLDER}/config.json")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o700
    entry.size, entry.mode = len(content), 0o600
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(folder)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
