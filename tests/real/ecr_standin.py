"""A registry that a Docker engine takes for Amazon ECR: by its name, and by whom it lets in.

It is CNCF Distribution's own. The engine reaches it as its HTTP proxy, since a server of HTTP takes whole addresses too
(RFC 9112, 3.2.2): what it is asked for `http://ACCOUNT.dkr.ecr.…/v2/` it answers itself, and AWS is never spoken to.
"""

from __future__ import annotations

from typing import Any

from local.registry import Registry

ACCOUNT = "123456789012"
NAME = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"
TOKEN = {"username": "AWS", "password": f"{ACCOUNT}-auth-token"}
"""That of moto's ECR."""
HASHED = "AWS:$2b$04$qvfbuOZqFsSoY30CMktzLu2xfbVY47GaYaSEybL3ApvOPZxERIf5e\n"
"""The same for the registry, by bcrypt."""


class EcrStandIn(Registry):
    """A registry with ECR's name."""

    @property
    def host(self) -> str:
        return NAME

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _config(self) -> Any:
        passwords = self.folder / "htpasswd"
        passwords.write_text(HASHED)
        made: Any = super()._config()
        del made["notifications"]
        made["http"]["addr"] = f"127.0.0.1:{self.port}"
        made["auth"] = {"htpasswd": {"realm": "ECR", "path": str(passwords)}}
        return made
