"""The version of this installation."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """The version of the installed package, or `unknown` when it runs from a folder that nobody installed."""
    try:
        return installed("paydown")
    except PackageNotFoundError:
        return "unknown"
