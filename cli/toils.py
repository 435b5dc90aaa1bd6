"""The toil types that are installed beside this command, and what they call things.

They are looked up by name when the program runs: the command also serves stacks with toil types that it does not know.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

NAME = re.compile(r"^[a-z][a-z0-9_]{1,62}$")


class NotInstalledError(Exception):
    """No toil type of this name can be imported; the message says why."""


def toil_type(name: str) -> Any:
    """The `Toil` subclass of a toil type. Raises NotInstalledError."""
    from paydown.toil import Toil

    if not NAME.match(name):
        raise NotInstalledError(f"{name!r} is no name of a toil type")
    module = f"functions.{name}.app"
    try:
        found = vars(importlib.import_module(module)).values()
    except ImportError as error:
        if error.name and module.startswith(error.name):
            raise NotInstalledError(f"no toil type {name} is installed here") from None
        raise NotInstalledError(f"{name} cannot be loaded here: {error}") from None
    for one in found:
        if isinstance(one, type) and issubclass(one, Toil) and one.__module__ == module:
            return one
    raise NotInstalledError(f"{name} is a function, but no toil type")


def is_installed(name: str) -> bool:
    """Whether a toil type of this name is installed here."""
    try:
        toil_type(name)
    except NotInstalledError:
        return False
    return True


def deployed_modes(parameters: dict[str, str]) -> dict[str, str]:
    """How each function was deployed, by its name: `RecoverNodeMode=Observe` is {"recover_node": "Observe"}."""
    return {
        re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Mode")).lower(): value
        for name, value in parameters.items()
        if name.endswith("Mode") and value in ("Off", "Observe", "Enforce")
    }
