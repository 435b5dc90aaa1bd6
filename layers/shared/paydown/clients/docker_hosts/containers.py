"""What is done with a container of our own, whatever it was for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import APIClient


def remove_container(client: APIClient, container: str) -> None:
    """Remove it with its volumes, whether it runs or not; one that is gone, or just being removed, is no trouble."""
    from docker.errors import APIError

    try:
        client.remove_container(container, force=True, v=True)
    except APIError as error:
        if error.status_code not in (404, 409):
            raise
