"""Which images the policy may name for what is bootstrapped over a socket."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from functions.refresh_base_image.settings import Base, Settings

NAME = "images.example/base/debian"
SOURCE = {"mirror": "https://mirror.example/debian", "suite": "bookworm"}
DIGEST = "sha256:" + "a" * 64


def base(builder: str) -> Base:
    recipe: dict[str, Any] = {"host": "build-1", "sources": [SOURCE], "builder": builder}
    return Settings.model_validate({"bases": {NAME: recipe}}).bases[NAME]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "paydown-builder:1",
        "localhost:5000/builders/debian:bookworm-20260701",
        f"images.example/builders/debian@{DIGEST}",
        f"images.example:5000/debian@{DIGEST}",
    ],
)
def test_a_builder_has_a_tag_or_a_digest(name: str) -> None:
    assert base(name).builder == name


@pytest.mark.parametrize(
    "name",
    [
        "debian",
        "images.example:5000/debian",
        "images.example/debian@sha256:abc",
        f"images.example/debian:1@{DIGEST}",
        "Debian:1",
        "debian:1 --privileged",
        "debian:1\n",
        "../debian:1",
        "-debian:1",
        "https://images.example/debian:1",
    ],
)
def test_what_is_no_such_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        base(name)


def test_where_it_is_built_is_no_part_of_the_recipe() -> None:
    assert base("").digest == base("paydown-builder:1").digest
