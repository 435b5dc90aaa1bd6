"""Taking back what was published: only while nobody went on with it."""

from __future__ import annotations

from functions.refresh_base_image.actions import PushBase, TagBase
from functions.refresh_base_image.published import CURRENT
from paydown.clients.registry import RegistryApi
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.plan import Done, Moot, Undone


def take_back(api: RegistryApi, repository: str, action: PushBase) -> Undone:
    """Delete what was pushed by its date, if nothing else is that image."""
    tag = action.object.rpartition(":")[2]
    digest = api.digest(repository, tag)
    if digest is None:
        return Moot("it is gone already")
    if api.digest(repository, CURRENT) == digest:
        return Moot(f"{CURRENT} is the same image")
    try:
        api.delete_manifest(repository, digest)
    except NotThere:
        return Moot("it is gone already")
    except PermanentError as error:
        return Moot(f"the dated tag stays, and nothing stands on it: {error}")
    return Done({"deleted": digest})


def point_back(api: RegistryApi, repository: str, action: TagBase) -> Undone:
    """Make the base before it `current` again; if there was none, there is none again."""
    now = api.digest(repository, CURRENT)
    if now is None or now != api.digest(repository, action.dated):
        return Moot(f"{CURRENT} is another image by now")
    if not action.previous:
        api.delete_manifest(repository, now)
        return Done({"deleted": now})
    try:
        api.put_manifest(repository, CURRENT, api.manifest(repository, action.previous))
    except NotThere:
        return Moot(f"the base before it, {action.previous}, is gone")
    return Done({"digest": action.previous})
