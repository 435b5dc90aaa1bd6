"""Where package managers leave what an image does not need: lists of packages, and packages that were unpacked."""

from __future__ import annotations

import re
from types import MappingProxyType

_HOMES = r"(?:root|home/[^/]+)"
_PLACES = (
    ("apt", re.compile(r"var/lib/apt/lists/.|var/cache/apt/(?:archives/.|(?:src)?pkgcache\.bin$)")),
    ("apk", re.compile(r"(?:var/cache|etc)/apk/.")),
    ("dnf", re.compile(r"var/cache/(?:dnf|yum|libdnf5)/.")),
    ("zypper", re.compile(r"var/cache/zypp/.")),
    ("pip", re.compile(rf"{_HOMES}/\.cache/pip/.")),
    ("npm", re.compile(rf"{_HOMES}/\.npm/_cacache/.")),
)
REMEDIES = MappingProxyType(
    {
        "apt": "rm -rf /var/lib/apt/lists/* and apt-get clean at the end of the same RUN",
        "apk": "apk add --no-cache",
        "dnf": "dnf clean all (yum clean all) at the end of the same RUN",
        "zypper": "zypper clean --all at the end of the same RUN",
        "pip": "pip install --no-cache-dir",
        "npm": "npm cache clean --force at the end of the same RUN",
    }
)
"""What leaves nothing behind; a mount of the type cache does so for all of them."""


def manager_of(path: str) -> str:
    """Whose leftover a path (without a slash before it) is; empty for all else."""
    return next((name for name, place in _PLACES if place.match(path)), "")
