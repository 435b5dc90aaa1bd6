"""What instructions the histories of both builders tell, and where the base image ends."""

from __future__ import annotations

import pytest

from functions.advise_image_layers.image import UnknownShape, image_of, on_base
from tests.unit.functions.advise_image_layers.histories import CREATED, copied, documents, image, kit, nop


def test_the_classic_builder_tells_hashes() -> None:
    [one] = image(copied("/etc/x/", "a")).instructions
    assert (one.word, one.target, one.content) == ("COPY", "/etc/x/", f"file:{'a' * 64}")
    assert one.line == "COPY <file:aaaaaaaaaaaa> /etc/x/"


def test_the_classic_builder_puts_no_space_after_options() -> None:
    [one] = image((f"/bin/sh -c #(nop) COPY --chown=7:8multi:{'a' * 64} in /d/ ", "a", 1)).instructions
    assert (one.flags, one.target, one.content) == ("--chown=7:8 ", "/d/", f"multi:{'a' * 64}")


def test_buildkit_tells_names() -> None:
    [one] = image(kit("COPY --link one.txt two.txt /etc/x/", "a")).instructions
    assert (one.sources, one.target, one.content, one.flags) == (("one.txt", "two.txt"), "/etc/x/", "", "--link ")
    assert one.line == "COPY --link one.txt two.txt /etc/x/"


def test_targets_are_where_the_working_directory_says() -> None:
    found = image(nop("WORKDIR /srv"), nop("WORKDIR app"), copied("./", "a"), kit("COPY x ../y", "b"), copied(".", "c"))
    assert [one.target for one in found.instructions if one.copies] == ["/srv/app/", "/srv/y", "/srv/app/"]


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("/bin/sh -c make  all", "make  all"),
        ("|2 A=b c D=/bin /bin/sh -c make", "make"),
        ("RUN |1 V=3 /bin/sh -c echo $V # buildkit", "echo $V"),
        ("RUN /bin/bash -o pipefail -c a | b # buildkit", "a | b"),
        ("/bin/busybox --install -s /bin", '["/bin/busybox", "--install", "-s", "/bin"]'),
        ("|1 V=3 /bin/tool x", '["/bin/tool", "x"]'),
    ],
)
def test_commands(said: str, command: str) -> None:
    [one] = image((said, "a", 1)).instructions
    assert (one.word, one.rest) == ("RUN", command)


def test_layers_belong_to_the_instructions_that_made_them() -> None:
    found = image(copied("/a", "a", 10), nop("ENV A=b"), copied("/b", "b", 20), nop('CMD ["x"]'))
    assert [(one.word, one.diff_id, one.size) for one in found.instructions] == [
        ("COPY", "sha256:a/a", 10),
        ("ENV", "", 0),
        ("COPY", "sha256:b/b", 20),
        ("CMD", "", 0),
    ]
    assert (found.size, found.own) == (30, 0)
    assert found.instructions[0].created is not None
    assert found.instructions[0].created.isoformat() == CREATED.replace("789Z", "+00:00")


def test_a_base_ends_where_it_says_what_is_started() -> None:
    found = image(copied("/", "a"), nop('CMD ["bash"]'), nop("ENV A=b"), copied("/app", "b"), nop('CMD ["/app"]'))
    assert [one.word for one in found.own_instructions] == ["ENV", "COPY", "CMD"]


def test_an_imported_base_says_so() -> None:
    manifest, config = documents([("", "a", 1), copied("/app", "b")])
    config["history"][0]["comment"] = "Imported from -"
    assert image_of(manifest, config, "d").own == 1


def test_the_base_itself_knows_best() -> None:
    base = image(copied("/a", "a"), copied("/b", "b"))
    found = image(copied("/a", "a"), copied("/b", "b"), copied("/c", "c"))
    assert on_base(found, base).own == 2
    assert on_base(found, image(copied("/a", "f"))) == found


def test_annotations_come_before_labels() -> None:
    key = "org.opencontainers.image.base.name"
    manifest, config = documents([copied("/a", "a")], Labels={key: "label:1"})
    assert image_of(manifest, config, "d").base_name == "label:1"
    assert image_of({**manifest, "annotations": {key: "said:2"}}, config, "d").base_name == "said:2"


@pytest.mark.parametrize(
    "change",
    [
        {"history": []},
        {"history": None},
        {"rootfs": {"diff_ids": []}},
        {"rootfs": None},
        {"history": [{"created_by": "x"}, {"created_by": "y"}]},
    ],
)
def test_other_shapes_are_refused(change: dict[str, object]) -> None:
    manifest, config = documents([copied("/a", "a")])
    with pytest.raises(UnknownShape):
        image_of(manifest, {**config, **change}, "d")


def test_entries_may_be_anything() -> None:
    found = image(("", "a", 1), ("COPY onlyone # buildkit", "b", 1), ("/bin/sh -c #(nop) ", "c", 1))
    assert [one.word for one in found.instructions] == ["", "", ""]
