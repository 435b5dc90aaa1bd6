"""What the layers of an image hold, read as a stream: leftovers, what is hidden, programs; and hostile layers."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import zstandard

from functions.advise_image_layers.advice import Limits
from functions.advise_image_layers.deep import files as files_module
from functions.advise_image_layers.deep import findings as findings_module
from functions.advise_image_layers.deep.files import files_of
from functions.advise_image_layers.deep.findings import Deep, look_into
from functions.advise_image_layers.deep.leftovers import manager_of
from functions.advise_image_layers.deep.programs import interpreter_of, started
from functions.advise_image_layers.image import Image, image_of
from paydown.clients.archives import Bounds
from paydown.clients.registry_content import digest_of
from paydown.errors import PermanentError
from tests.unit.functions.advise_image_layers.fake_registry import FakeRegistry
from tests.unit.functions.shrink_image.layers import File, layer
from tests.unit.functions.shrink_image.small_elf import DYN, elf

LIMITS = Limits(1_000, 2, timedelta(days=30))
MOST = 50_000_000
LOADER = "/lib64/ld-linux-x86-64.so.2"
DYNAMIC = elf(kind=DYN, interpreter=LOADER, needed=["libc.so.6"])
Step = tuple[str, bytes | dict[str, File] | None]


def image(*steps: Step, registry: FakeRegistry, **config: object) -> Image:
    made = [(_said(said), layer(it) if isinstance(it, dict) else it) for said, it in steps]
    digest = registry.built("current", made, **config)
    manifest = registry.manifests[digest].document
    document = json.loads(registry.blobs[manifest["config"]["digest"]])
    return image_of(manifest, document, digest)


def _said(step: str) -> str:
    """What BuildKit's history says of it."""
    return f"{step.replace('RUN ', 'RUN /bin/sh -c ', 1)} # buildkit"


def deep(*steps: Step, most: int = MOST, limits: Limits = LIMITS, own: int = 0, **config: object) -> Deep:
    registry = FakeRegistry()
    found = dataclasses.replace(image(*steps, registry=registry, **config), own=own)
    looked = look_into(found, lambda digest: registry.blob_chunks("", digest), most, limits)
    assert len(set(registry.streamed)) == len(registry.streamed)
    return looked


def told(found: Deep) -> list[tuple[str, int, bool]]:
    return [(one.rule, one.number, one.asks) for one in found.advice]


def test_lists_of_packages_are_told_of_where_they_came_from() -> None:
    lists: dict[str, File] = {"var/lib/apt/lists": None, "var/lib/apt/lists/main": os.urandom(9_000)}
    found = deep(
        ("COPY a /a", {"a": b"x" * 5_000}),
        ("RUN apt-get update", lists | {"var/lib/apt/lists/small": b"s", "usr/bin/x": b"y"}),
        ("RUN pip install x", {"root/.cache/pip/http/1": os.urandom(4_000)}),
    )
    assert told(found) == [("package-lists-left", 2, True), ("package-lists-left", 3, True)]
    apt = found.advice[0]
    assert "apt leaves 2 files (9.0 kB unpacked; var/lib/apt/lists/main is the largest)" in apt.text
    assert "rm -rf /var/lib/apt/lists/*" in apt.text
    assert apt.instruction == "RUN apt-get update"
    assert 8_500 < apt.saves_bytes <= 9_001
    assert "pip install --no-cache-dir" in found.advice[1].text
    assert found.seen["layers_looked_into"] == 3


@pytest.mark.parametrize(
    ("path", "manager"),
    [
        ("var/lib/apt/lists/deb.example_dists_main", "apt"),
        ("var/cache/apt/archives/a_1_amd64.deb", "apt"),
        ("var/cache/apt/pkgcache.bin", "apt"),
        ("var/lib/apt/extended_states", ""),
        ("var/cache/apk/APKINDEX.1.tar.gz", "apk"),
        ("var/cache/yum/x86_64/primary.sqlite", "dnf"),
        ("var/cache/dnf/base.solv", "dnf"),
        ("home/me/.npm/_cacache/index-v5/a", "npm"),
        ("srv/root/.cache/pip/x", ""),
        ("usr/var/cache/dnf/x", ""),
    ],
)
def test_leftovers_are_known_by_their_places(path: str, manager: str) -> None:
    assert manager_of(path) == manager


def test_what_is_deleted_again_is_told_of_where_it_was_added() -> None:
    found = deep(
        ("COPY src /src", {"src": None, "src/a": os.urandom(5_000), "src/b/c": os.urandom(3_000), "kept": b"k"}),
        ("RUN make", {"bin/app": os.urandom(4_000)}),
        ("RUN rm -rf /src", {".wh.src": b""}),
    )
    assert told(found) == [("deleted-later", 1, False)]
    assert "Instruction 3 deletes 2 files (8.0 kB unpacked; src/a is the largest) of this layer" in found.advice[0].text
    assert 5_000 < found.advice[0].saves_bytes <= 8_000


def test_opaque_folders_delete_and_their_own_layer_brings_anew() -> None:
    steps: list[Step] = [
        ("COPY d /d", {"d/a": os.urandom(5_000), "d/b": os.urandom(5_000), "e/x": os.urandom(5_000)}),
        ("RUN again", {"d/.wh..wh..opq": b"", "d/a": b"new"}),
    ]
    found = deep(*steps)
    assert sorted(told(found)) == [("deleted-later", 1, False), ("overwritten-later", 1, False)]
    assert {one.text.partition(" unpacked; ")[2][:3] for one in found.advice} == {"d/a", "d/b"}


def test_a_file_in_place_of_a_folder_hides_what_was_below() -> None:
    found = deep(("COPY d /d", {"d/a/b": os.urandom(5_000)}), ("COPY d /d", {"d": b"file"}))
    assert told(found) == [("deleted-later", 1, False)]


def test_what_is_overwritten_costs_each_time() -> None:
    found = deep(
        ("COPY app /app", {"app": os.urandom(5_000)}),
        ("RUN chmod", {"app": os.urandom(5_000)}),
        ("RUN chown", {"app": os.urandom(5_000)}),
    )
    assert sorted(told(found)) == [("overwritten-later", 1, False), ("overwritten-later", 2, False)]
    assert "Instruction 2 overwrites 1 file" in found.advice[0].text


def test_small_things_are_not_worth_a_word() -> None:
    steps: list[Step] = [("COPY a /a", {"a": b"x" * 900}), ("RUN rm /a", {".wh.a": b""})]
    assert deep(*steps).advice == ()
    assert deep(*steps, limits=Limits(0, 2, timedelta(30))).advice


def test_bytes_saved_are_those_of_the_registry() -> None:
    packed = gzip.compress(layer({"a": b"x" * 400_000, "b": b"x" * 400_000}))
    found = deep(("COPY a /a", packed), ("RUN rm /a", {".wh.a": b""}), limits=Limits(1, 2, timedelta(30)))
    assert 0 < found.advice[0].saves_bytes <= len(packed) / 2


def test_layers_of_the_base_are_not_read() -> None:
    found = deep(
        ("COPY lists /", {"var/lib/apt/lists/main": os.urandom(9_000)}),
        ("RUN rm", {".wh.var": b"", "x": b""}),
        own=1,
    )
    assert (found.advice, found.seen["layers_looked_into"]) == ((), 1)
    assert "not_looked_into" not in found.seen


@pytest.mark.parametrize(
    ("files", "config"),
    [
        ({"app": DYNAMIC}, {"Entrypoint": ["/app"]}),
        ({"app": DYNAMIC}, {"Cmd": ["./app", "-x"]}),
        ({"usr/bin/app": DYNAMIC}, {"Cmd": ["app"]}),
        ({"opt/app": DYNAMIC}, {"Cmd": ["app"], "Env": ["PATH=/opt"]}),
        ({"opt/app": DYNAMIC, "app": ("link", "opt/../opt/app")}, {"Entrypoint": ["/app"]}),
        ({"real/app": DYNAMIC, "bin": ("link", "/real")}, {"Entrypoint": ["/bin/app"]}),
        ({"a": DYNAMIC, "app": ("hard", "a")}, {"Entrypoint": ["/app"]}),
        ({"app": elf(kind=DYN, interpreter=LOADER, tail=b"z" * 200_000)}, {"Entrypoint": ["/app"]}),
    ],
)
def test_a_dynamic_program_from_scratch_cannot_start(files: dict[str, File], config: dict[str, object]) -> None:
    found = deep(("COPY app /", files), **config)
    assert told(found) == [("dynamic-in-scratch", 1, True)]
    assert LOADER in found.advice[0].text


@pytest.mark.parametrize(
    "files",
    [
        {"app": elf()},
        {"app": b"#!/bin/sh\n"},
        {"app": DYNAMIC, "usr/lib64/ld-linux-x86-64.so.2": b"", "lib64": ("link", "usr/lib64")},
        {"other": DYNAMIC},
        {"app": ("link", "app")},
        {"app": b"\x7fELF"},
        {"app": DYNAMIC[:70]},
    ],
)
def test_programs_of_which_nothing_is_said(files: dict[str, File]) -> None:
    assert deep(("COPY app /", files), Entrypoint=["/app"]).advice == ()


def test_a_dynamic_program_on_a_base_is_not_our_concern() -> None:
    steps: list[Step] = [("COPY base /", {"base": b""}), ("COPY app /", {"app": DYNAMIC})]
    assert deep(*steps, own=1, Entrypoint=["/app"]).advice == ()


def test_a_program_that_was_replaced_counts_as_it_is_now() -> None:
    steps: list[Step] = [("COPY app /app", {"app": DYNAMIC}), ("COPY app /app", {"app": elf()})]
    assert deep(*steps, Entrypoint=["/app"]).advice == ()


@pytest.mark.parametrize("config", [{}, {"Cmd": "app"}, {"Cmd": [""]}, {"Cmd": [3, None]}, {"Entrypoint": {"a": 1}}])
def test_configurations_that_start_nothing(config: dict[str, object]) -> None:
    assert started(config) == []


def test_headers_full_of_nonsense() -> None:
    for at in range(4, 180):
        broken = bytearray(DYNAMIC)
        broken[at : at + 2] = b"\xff\xff"
        assert interpreter_of(bytes(broken)) in ("", LOADER) or at > 63


# What does not fit is said, never left out.


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b"\x28\xb5\x2f\xfd" + b"0" * 600, "no sound zstd archive"),
        (zstandard.compress(bytes(60_000_000)), "unpack to more than 50 MB"),
        (b"\x1f\x8b" + b"0" * 600, "no gzip archive"),
        (b"x" * 2_000, "no sound archive"),
        (layer({"../../etc/passwd": b""}), "outside of the image"),
        (layer({"a/" * 3_000: b""}), "too long"),
        (gzip.compress(bytes(60_000_000)), "unpack to more than 50 MB"),
    ],
)
def test_a_layer_that_is_not_read_is_said(stored: bytes, why: str) -> None:
    found = deep(
        ("RUN apt-get update", {"var/lib/apt/lists/main": os.urandom(9_000)}),
        ("COPY x /x", stored),
        ("COPY app /app", {"app": DYNAMIC}),
        Entrypoint=["/app"],
    )
    assert told(found) == [("package-lists-left", 1, True)]
    assert found.seen["not_looked_into"].startswith("from instruction 2 on: ")
    assert why in found.seen["not_looked_into"]
    assert why in found.told
    assert found.seen["layers_looked_into"] == 1


def test_layers_of_zstd_are_looked_into() -> None:
    stored = zstandard.compress(layer({"var/lib/apt/lists/main": os.urandom(9_000)}))
    found = deep(("RUN apt-get update", stored))
    assert told(found) == [("package-lists-left", 1, True)]
    assert found.seen["layer_bytes_fetched"] == len(stored)


def test_a_layer_larger_than_the_limit_is_not_fetched() -> None:
    found = deep(("COPY a /a", {"a": os.urandom(3_000_000)}), most=1_000_000)
    assert found.seen["layer_bytes_fetched"] == 0
    assert "the setting max_bytes" in found.told


def test_layers_that_are_gone_or_damaged_are_said() -> None:
    registry = FakeRegistry()
    made = image(("COPY a /a", {"a": b"1"}), registry=registry)
    registry.blobs.pop(made.instructions[0].blob)
    found = look_into(made, lambda digest: registry.blob_chunks("", digest), MOST, LIMITS)
    assert found.seen["not_looked_into"] == "from instruction 1 on: a layer is not in the registry"

    def damaged(digest: str) -> Iterator[bytes]:
        yield layer({"var/lib/apt/lists/x": b"y" * 9_000})
        raise PermanentError("the content has another digest")

    found = look_into(made, damaged, MOST, LIMITS)
    assert (found.advice, found.seen["layers_looked_into"]) == ((), 0)
    assert "another digest" in found.told


def test_time_that_is_over_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "SECONDS", -1)
    found = deep(("COPY a /a", {"a": b"1"}))
    assert found.seen["not_looked_into"] == "from instruction 1 on: it could not be read in time"


def test_too_many_files_and_names_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "ENTRIES", 20)
    assert "too many files" in deep(("COPY a /a", {f"f{number}": b"" for number in range(21)})).told
    registry = FakeRegistry()
    made = image(("COPY a /a", {f"{number}{'n' * 90}": b"" for number in range(12)}), registry=registry)
    bounds = Bounds(MOST, 100, time.monotonic() + 60, names=1_000)
    assert "too long together" in files_of(made, lambda digest: registry.blob_chunks("", digest), bounds, False).trouble


def test_deep_paths_and_many_whiteouts_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "SECONDS", 1)
    monkeypatch.setattr(files_module, "_EACH", 16)
    below: dict[str, File] = {f"{'a/' * 1_900}{number}/f": b"" for number in range(2_000)}
    gone: dict[str, File] = {f"b/.wh.{number}": b"" for number in range(2_000)}
    later: list[Step] = [(f"RUN {number}", gone | {f"c{number}": b""}) for number in range(4)]
    steps: list[Step] = [("COPY a /a", below), *later]
    begun = time.process_time()
    deep(*steps)
    assert time.process_time() - begun < 6


def test_names_that_are_no_text_do_no_harm() -> None:
    raw = layer({"src/\udcff\x1b[31m\n": os.urandom(5_000)}, pax_headers={})
    found = deep(("COPY src /src", raw), ("RUN rm", {".wh.src": b""}))
    found.advice[0].text.encode()
    assert "\n" not in found.advice[0].text


def test_the_digest_of_a_layer_is_that_of_what_is_stored() -> None:
    made = image(("COPY a /a", {"a": b"1"}), registry=FakeRegistry())
    assert made.instructions[0].blob == digest_of(layer({"a": b"1"}))
