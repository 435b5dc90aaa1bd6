"""What goes along with a program."""

from __future__ import annotations

from typing import Any

import pytest

from functions.shrink_image.needs import NAMED_MOST, Needs, Unknown, accounts, needs
from functions.shrink_image.original import Original
from functions.shrink_image.tree import Tree
from tests.unit.functions.shrink_image.layers import tree

TMP = "/" + "tmp"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\nbroken line\nother:x:7:7::/:/x\n"
GROUP = b"root:x:0:\napp:x:1001:\nlogs:x:4:syslog,app\nempty:x:5:\n"
FILES = tree({"home/app": None, "root": None, "tmp": None, "app": b"", "srv/x/y": b"", "srv/z": ("link", "x/y")})


def image(**config: Any) -> Original:
    return Original("sha256:d", "", "sha256:i", ("sha256:l",), 1, {"config": config})


def along(content: bytes, files: Tree = FILES, keep: tuple[str, ...] = (), **config: Any) -> Needs:
    return needs(image(**config), files, "/app", content, keep)


def user(said: str | None) -> dict[str, bytes]:
    found = Needs()
    accounts(found, image(User=said), PASSWD, GROUP, FILES)
    return found.accounts


@pytest.mark.parametrize("said", ["app", "1000", "app:app", "1000:1001"])
def test_the_user_with_its_groups_and_nobody_else(said: str) -> None:
    assert user(said) == {
        "/etc/passwd": b"app:x:1000:1001:App:/home/app:/bin/sh\n",
        "/etc/group": b"app:x:1001:\nlogs:x:4:app\n",
    }


def test_root_keeps_its_home() -> None:
    for said in (None, "", "0", "root"):
        assert user(said) == {"/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "/etc/group": b"root:x:0:\n"}


def test_a_number_without_an_entry_has_none() -> None:
    assert user("4711") == {"/etc/group": b"root:x:0:\n"}


def test_another_group() -> None:
    assert user("other:logs")["/etc/group"] == b"logs:x:4:\n"


@pytest.mark.parametrize("said", ["nobody", "app:wheel"])
def test_names_that_lead_nowhere(said: str) -> None:
    with pytest.raises(Unknown):
        user(said)


def test_the_home_stays_as_a_folder() -> None:
    found = Needs()
    accounts(found, image(User="app"), PASSWD, GROUP, FILES)
    assert found.folders == {"/home/app"}
    assert found.kinds == ["the entry of its user app"]


def test_a_home_that_leads_out_of_the_image() -> None:
    found = Needs()
    accounts(found, image(), b"root:x:0:0::/../../root:/\n", b"", FILES)
    assert found.folders == {"/root"}


CERTIFICATES = tree(
    {
        "etc/ssl/certs/ca-certificates.crt": b"debian",
        "etc/pki/bundle.pem": b"own",
        "etc/ssl/cert.pem": ("link", "certs/ca-certificates.crt"),
    }
)


@pytest.mark.parametrize(
    ("content", "environment", "expected"),
    [
        (b"\x00/etc/ssl/certs/ca-certificates.crt\x00", [], {"/etc/ssl/certs/ca-certificates.crt"}),
        (b"\x00/etc/ssl/cert.pem\x00", [], {"/etc/ssl/cert.pem"}),
        (b"\x00/etc/pki/tls/cacert.pem\x00", [], set()),
        (b"nothing", [], set()),
        (b"nothing", ["SSL_CERT_FILE=/etc/pki/bundle.pem"], {"/etc/pki/bundle.pem"}),
        (b"nothing", ["SSL_CERT_FILE=../../gone"], set()),
    ],
)
def test_certificates_where_the_program_looks_for_them(
    content: bytes, environment: list[str], expected: set[str]
) -> None:
    assert set(along(content, CERTIFICATES, Env=environment).files) == expected


def test_time_zones_only_if_the_program_knows_them() -> None:
    zones = tree(
        {
            "usr/share/zoneinfo/UTC": b"",
            "usr/share/zoneinfo/Zulu": ("link", "UTC"),
            "usr/share/zoneinfo/posix/UTC": b"",
            "usr/share/zoneinfo/right/UTC": b"",
            "etc/localtime": ("link", "/usr/share/zoneinfo/UTC"),
        }
    )
    assert not along(b"", zones).files
    assert set(along(b"/usr/share/zoneinfo/", zones).files) == {"/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo/Zulu"}
    assert set(along(b"/etc/localtime", zones).files) == {"/etc/localtime"}


def test_what_the_settings_keep() -> None:
    assert set(along(b"", keep=("/srv",)).files) == {"/srv/x/y", "/srv/z"}
    assert set(along(b"", keep=("/srv/z",)).files) == {"/srv/z"}
    assert along(b"", keep=("/home/app",)).folders == {"/home/app", TMP}
    with pytest.raises(Unknown, match="which is not in the image"):
        along(b"", keep=("/nowhere",))


def test_folders_to_write_to_stay() -> None:
    found = along(b"", WorkingDir="/srv", Volumes={"/home/app": {}, "/gone": {}, "/../..": {}})
    assert found.folders == {TMP, "/srv", "/home/app"}


def test_files_that_the_program_names_are_told() -> None:
    found = along(b"open /srv/x/y, /srv/z and /srv/q; /proc/self/exe /etc/passwd", keep=("/srv/z",))
    assert found.named == ("/srv/x/y",)
    many = tree({f"srv/file{number}": b"" for number in range(100)})
    text = b" ".join(f"/srv/file{number}".encode() for number in range(100))
    assert len(along(text, many).named) == NAMED_MOST
