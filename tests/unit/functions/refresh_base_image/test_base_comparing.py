"""What counts as unexpected in a new base."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.refresh_base_image.comparing import Changes, differing, unexpected
from functions.refresh_base_image.settings import DebianBase, RhelBase, Source
from paydown.clients.base_contents import Contents, Entry, read_contents

BASE = DebianBase(host="build-1", sources=(Source(mirror="https://mirror.example/debian", suite="bookworm"),))

LISTING = """\
package bash 5.2.15-2+b13 amd64
package libc6 2.36-9+deb12u14 amd64
entry l 777 0:0 bin\tusr/bin
entry d 755 0:0 usr\t
entry f 755 0:0 usr/bin/bash\t
entry f 4755 0:0 usr/bin/su\t
entry l 777 0:0 usr/bin/sh\tbash
hash aaaa  ./usr/bin/bash
hash bbbb  ./usr/bin/su
owner bash.list:/bin
owner bash.list:/bin/bash
owner libc6:amd64.list:/usr
owner util-linux.list:/bin/su
paydown-end
"""


RPM_BASE = RhelBase.model_validate(
    {
        "family": "rhel",
        "host": "build-1",
        "release": "9",
        "repositories": [{"id": "baseos", "url": "https://mirror.example/9/BaseOS"}],
        "keys": ["/etc/pki/rpm-gpg/KEY"],
    }
)

RPM_LISTING = """\
package bash 5.1.8-9.el9 x86_64
package glibc 2.34-125.el9 x86_64
package setup 2.13.7-10.el9 noarch
package shadow-utils 2:4.9-12.el9 x86_64
entry l 777 0:0 bin\tusr/bin
entry l 777 0:0 sbin\tusr/sbin
entry l 777 0:0 usr/sbin\tbin
entry f 755 0:0 usr/bin/bash\t
entry f 755 0:0 usr/bin/newuidmap\t
entry f 755 0:0 usr/bin/ldconfig\t
entry f 644 0:0 etc/ld.so.cache\t
entry f 644 0:0 etc/passwd\t
entry f 644 0:0 var/lib/rpm/rpmdb.sqlite\t
hash aaaa  ./usr/bin/bash
hash bbbb  ./usr/bin/newuidmap
hash cccc  ./usr/bin/ldconfig
hash dddd  ./etc/ld.so.cache
hash eeee  ./etc/passwd
hash ffff  ./var/lib/rpm/rpmdb.sqlite
capable ./usr/bin/newuidmap
owner bash.list:/bin/bash
owner shadow-utils.list:/usr/bin/newuidmap
owner glibc.list:/sbin/ldconfig
owner glibc.list:/etc/ld.so.cache
owner setup.list:/etc/passwd
owner rpm.list:/var/lib/rpm/rpmdb.sqlite
paydown-end
"""


def contents() -> Contents:
    return read_contents(LISTING)


def with_file(known: Contents, path: str, entry: Entry, *owners: str) -> Contents:
    return dataclasses.replace(
        known, files={**known.files, path: entry}, owners={**known.owners, path: frozenset(owners)}
    )


def test_a_listing_is_read_with_owners_where_files_really_are() -> None:
    read = contents()
    assert read.packages == {"bash/amd64": "5.2.15-2+b13", "libc6/amd64": "2.36-9+deb12u14"}
    assert read.files["/usr/bin/bash"] == Entry("f", 0o755, "0:0", "aaaa")
    assert read.files["/usr/bin/sh"] == Entry("l", 0o777, "0:0", "bash")
    assert read.owners["/usr/bin/bash"] == {"bash"}
    assert read.owners["/usr"] == {"libc6"}
    assert read.files["/usr/bin/su"].privileged


def test_names_with_spaces_and_an_arrow_are_read() -> None:
    read = read_contents("entry l 777 0:0 a b\tc d\nentry f 644 0:0 x  y\t\nhash 00  ./x  y\n")
    assert read.files == {"/a b": Entry("l", 0o777, "0:0", "c d"), "/x  y": Entry("f", 0o644, "0:0", "00")}


@pytest.mark.parametrize("text", ["entry f 644 0:0 a\t\n", "entry f x 0:0 a\t\n", "entry f\n", "package a\n"])
def test_a_listing_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_contents(text)


def test_the_same_is_expected() -> None:
    assert unexpected(contents(), contents(), BASE) == []
    assert unexpected(contents(), None, BASE) == []


@pytest.mark.parametrize(("mode", "said"), [(0o4755, "a setuid file /opt/x"), (0o2755, "a setgid file /opt/x")])
def test_what_runs_with_anothers_rights_must_be_named_even_in_the_first_base(mode: int, said: str) -> None:
    new = with_file(contents(), "/opt/x", Entry("f", mode, "0:0", "c"), "bash")
    assert unexpected(new, None, BASE) == [said]
    named = BASE.model_copy(update={"privileged": (*BASE.privileged, "/opt/x")})
    assert unexpected(new, None, named) == []


def test_a_directory_with_a_group_bit_runs_nothing() -> None:
    assert unexpected(with_file(contents(), "/var/mail", Entry("d", 0o2775, "0:8")), None, BASE) == []


def test_devices_and_pipes_are_unexpected() -> None:
    assert unexpected(with_file(contents(), "/x", Entry("c", 0o600, "0:0")), None, BASE) == ["a file of the kind c /x"]


def test_packages_that_come_and_go_must_be_named() -> None:
    last = contents()
    new = dataclasses.replace(last, packages={"bash/amd64": "5.2.15-2+b13", "libnew1/amd64": "1"})
    assert unexpected(new, last, BASE) == ["a new package libnew1", "a lost package libc6"]
    named = BASE.model_copy(update={"packages": ("lib*",)})
    assert unexpected(new, last, named) == []
    asked = BASE.model_copy(update={"include": ("libnew1", "libc6")})
    assert unexpected(new, last, asked) == []


def test_files_change_with_the_version_of_their_package_only() -> None:
    last = contents()
    new = with_file(last, "/usr/bin/bash", Entry("f", 0o755, "0:0", "ffff"), "bash")
    said = "a changed file of bash, whose version is the same, /usr/bin/bash"
    assert unexpected(new, last, BASE) == [said]
    newer = dataclasses.replace(new, packages={**new.packages, "bash/amd64": "5.3"})
    assert unexpected(newer, last, BASE) == []
    assert differing(newer, last) == ["/usr/bin/bash"]


def test_another_owner_or_mode_is_a_change() -> None:
    last = contents()
    for entry in (Entry("f", 0o777, "0:0", "aaaa"), Entry("f", 0o755, "1:0", "aaaa")):
        assert len(unexpected(with_file(last, "/usr/bin/bash", entry, "bash"), last, BASE)) == 1


def test_what_no_package_owns_may_not_come_change_or_go() -> None:
    last = with_file(contents(), "/etc/passwd", Entry("f", 0o644, "0:0", "1"))
    last = dataclasses.replace(last, owners=contents().owners)
    changed = with_file(last, "/etc/passwd", Entry("f", 0o644, "0:0", "2"))
    assert unexpected(changed, last, BASE) == ["a changed file of no package /etc/passwd"]
    assert unexpected(contents(), last, BASE) == ["a lost file of no package /etc/passwd"]
    assert unexpected(last, contents(), BASE) == ["a new file of no package /etc/passwd"]
    named = BASE.model_copy(update={"files": ("/etc/passwd",)})
    assert unexpected(changed, last, named) == []


def test_the_books_of_the_package_managers_are_written_anew() -> None:
    last = contents()
    for path in ("/var/lib/dpkg/status", "/etc/ld.so.cache", "/var/lib/apt/lists/x"):
        assert unexpected(with_file(last, path, Entry("f", 0o644, "0:0", "2")), last, BASE) == []


def test_a_setuid_file_in_the_books_is_found_all_the_same() -> None:
    new = with_file(contents(), "/var/lib/dpkg/info/x", Entry("f", 0o4755, "0:0", "2"))
    assert unexpected(new, contents(), BASE) == ["a setuid file /var/lib/dpkg/info/x"]


def test_a_listing_of_rpm_is_read_the_same() -> None:
    read = read_contents(RPM_LISTING)
    assert read.packages["shadow-utils/x86_64"] == "2:4.9-12.el9"
    assert read.owners["/usr/bin/bash"] == {"bash"}
    assert read.owners["/usr/bin/ldconfig"] == {"glibc"}  # by way of /sbin and /usr/sbin
    assert read.files["/usr/bin/newuidmap"] == Entry("f", 0o755, "0:0", "bbbb", capable=True)


def test_capabilities_of_what_is_no_file_make_no_sense() -> None:
    with pytest.raises(ValueError, match="/x has capabilities and is no file"):
        read_contents("capable ./x\n")


def test_a_file_with_capabilities_must_be_named_like_a_setuid_file() -> None:
    new = read_contents(RPM_LISTING)
    assert unexpected(new, None, RPM_BASE) == []
    strict = RPM_BASE.model_copy(update={"privileged": ()})
    assert unexpected(new, None, strict) == ["a file with capabilities /usr/bin/newuidmap"]


def test_capabilities_that_a_file_gets_are_a_change() -> None:
    new = read_contents(RPM_LISTING)
    last = read_contents(RPM_LISTING.replace("capable ./usr/bin/newuidmap\n", ""))
    said = "a changed file of shadow-utils, whose version is the same, /usr/bin/newuidmap"
    assert unexpected(new, last, RPM_BASE) == [said]


def test_the_books_of_rpm_are_written_anew_though_a_package_calls_them_its_own() -> None:
    last = read_contents(RPM_LISTING)
    new = read_contents(RPM_LISTING.replace("dddd", "d0d0").replace("ffff", "f0f0"))
    assert differing(new, last) == ["/etc/ld.so.cache", "/var/lib/rpm/rpmdb.sqlite"]
    assert unexpected(new, last, RPM_BASE) == []
    bash = read_contents(RPM_LISTING.replace("aaaa", "a0a0"))
    assert len(unexpected(bash, last, RPM_BASE)) == 1


def test_a_file_of_a_package_may_change_with_another_one_if_it_is_named() -> None:
    last = read_contents(RPM_LISTING)
    new = read_contents(RPM_LISTING.replace("eeee", "e0e0"))  # another package added a user
    assert unexpected(new, last, RPM_BASE) == ["a changed file of setup, whose version is the same, /etc/passwd"]
    assert unexpected(new, last, RPM_BASE.model_copy(update={"files": ("/etc/passwd",)})) == []


versions = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("123"))


@given(versions, versions)
def test_changes_add_up(old: dict[str, str], new: dict[str, str]) -> None:
    changes = Changes.between(old, new)
    found = {name: version for name, version in old.items() if name not in changes.removed}
    found |= {name: new[name] for name in (*changes.added, *changes.changed)}
    assert found == new
    assert (changes == Changes()) == (old == new)
