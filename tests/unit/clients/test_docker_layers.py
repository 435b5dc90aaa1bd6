"""Which layers a removal freed, how many bytes that is, and where they lay."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from paydown.clients.docker_hosts.layers import chain_ids, removal
from paydown.clients.docker_hosts.model import Fate

LAYERS = [f"sha256:{number:064x}" for number in range(1, 5)]
IMAGE = "sha256:" + "a" * 64
PARENT = "sha256:" + "b" * 64


def inspected(layers: list[str], size: int, **more: Any) -> dict[str, Any]:
    return {"Id": IMAGE, "Size": size, "RootFS": {"Layers": layers}, **more}


def steps(*sizes_and_commands: tuple[int, str]) -> list[dict[str, Any]]:
    """A history, newest first."""
    return [{"Size": size, "CreatedBy": command} for size, command in sizes_and_commands]


def test_chain_ids_are_those_of_the_oci_specification() -> None:
    first, second, third = chain_ids(LAYERS[:3])
    assert first == LAYERS[0]
    assert second == "sha256:" + hashlib.sha256(f"{LAYERS[0]} {LAYERS[1]}".encode()).hexdigest()
    assert third == "sha256:" + hashlib.sha256(f"{second} {LAYERS[2]}".encode()).hexdigest()
    assert chain_ids([]) == []


def test_chain_ids_as_an_engine_answered_them() -> None:
    layers = [
        "sha256:42e63be2e6b6e79cf0e9e15ab21c53941546e4f3fa6de53580d8522951cdeac7",
        "sha256:90c70833ec1d65a3de3e6ea4564c1973daf394e23bb1db790570cfa38becdf8c",
        "sha256:9561f4e3bda0030e486f2d55e366f88c5677aeb769e6fcad2bc151808d52ada8",
    ]
    assert chain_ids(layers)[1:] == [
        "sha256:e7c5d234398b42de0faf42e13b08cb8794d63bc75b8cdf3be93878de123aba4f",
        "sha256:b6d9b9e4598b43c758430ef92a14f013fe67f369825471419fd974cf6c90e747",
    ]


def test_when_all_layers_go_the_whole_size_is_freed() -> None:
    gone = removal(inspected(LAYERS[:2], 700), [], [IMAGE, *chain_ids(LAYERS[:2])])
    assert (gone.fate, gone.freed, gone.exact, gone.layers, gone.parents) == (Fate.REMOVED, 700, True, 2, 0)


def test_only_the_deleted_layers_count() -> None:
    history = steps((2, "COPY a"), (500, "COPY b"))
    gone = removal(inspected(LAYERS[:2], 502), history, [IMAGE, chain_ids(LAYERS[:2])[1]])
    assert (gone.freed, gone.exact, gone.layers) == (2, True, 1)


def test_when_no_layer_goes_nothing_is_freed() -> None:
    gone = removal(inspected(LAYERS[:1], 500), steps((500, "COPY b")), [IMAGE])
    assert (gone.freed, gone.exact, gone.layers) == (0, True, 0)


def test_parents_that_went_too_are_counted() -> None:
    chain = chain_ids(LAYERS[:2])
    gone = removal(inspected(LAYERS[:2], 502), [], [IMAGE, chain[1], PARENT, chain[0]])
    assert gone.parents == 1


@pytest.mark.parametrize(
    "history",
    [
        steps((3, "COPY a"), (0, "WORKDIR /w"), (0, "ENV a=b"), (5, "ADD b"), (7, "")),
        steps(
            (3, "/bin/sh -c #(nop) COPY file:1 in /a "),
            (0, "/bin/sh -c #(nop) WORKDIR /w"),
            (0, '/bin/sh -c #(nop)  CMD ["x"]'),
            (5, "/bin/sh -c make install"),
            (7, ""),
        ),
        steps((3, "RUN /bin/sh -c make # buildkit"), (0, "RUN /bin/sh -c true"), (5, "COPY"), (7, "bash")),
    ],
    ids=["buildkit", "classic", "empty run"],
)
def test_empty_layers_are_told_from_steps_without_a_layer(history: list[dict[str, Any]]) -> None:
    chain = chain_ids(LAYERS)
    gone = removal(inspected(LAYERS, 15), history, [IMAGE, *chain[1:]])
    assert (gone.freed, gone.exact) == (8, True)


def test_what_cannot_be_told_is_a_lower_bound_and_says_so() -> None:
    # Four layers, but the history shows two that could be one: the two unknown empty ones may be the uppermost.
    history = steps((3, "COPY a"), (5, "COPY b"))
    gone = removal(inspected(LAYERS, 8), history, [IMAGE, *chain_ids(LAYERS)[1:]])
    assert (gone.freed, gone.exact) == (3, False)


def test_the_containerd_store_tells_too_little() -> None:
    gone = removal(inspected(LAYERS[:1], 9, Descriptor={"digest": IMAGE}), steps((9, "COPY")), [IMAGE])
    assert (gone.freed, gone.exact) == (0, False)


def test_directories_are_those_of_the_deleted_layers_uppermost_first() -> None:
    driver = {"Name": "overlay2", "Data": {"UpperDir": "/d/3/diff", "LowerDir": "/d/2/diff:/d/1/diff"}}
    gone = removal(inspected(LAYERS[:3], 3, GraphDriver=driver), [], [IMAGE, *chain_ids(LAYERS[:3])[1:]])
    assert gone.directories == ("/d/3/diff", "/d/2/diff")


def test_vfs_tells_no_directories_and_gives_back_more_than_it_says() -> None:
    gone = removal(inspected(LAYERS[:1], 3, GraphDriver={"Name": "vfs", "Data": None}), [], [IMAGE, LAYERS[0]])
    assert (gone.layers, gone.directories, gone.exact) == (1, (), False)
