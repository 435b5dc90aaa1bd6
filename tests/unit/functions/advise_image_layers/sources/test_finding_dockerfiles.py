"""Where a Dockerfile is found, how often files change, and what hadolint tells."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from functions.advise_image_layers.sources import hadolint
from functions.advise_image_layers.sources.attested import Attested, told
from functions.advise_image_layers.sources.finding import chosen, find
from functions.advise_image_layers.sources.fitting import fitted
from functions.advise_image_layers.sources.hadolint import NoHadolint, faults
from functions.advise_image_layers.sources.often import touched
from paydown.clients.git import Checkout
from paydown.errors import PermanentError, RetryableError
from paydown.inventory import Source
from tests.unit.functions.advise_image_layers.histories import copied, image

TEXT = "FROM scratch\nCOPY src /a\nCOPY *.bin lib/ /b/\nCOPY --from=x / /c\nADD https://e.org/x /d\n"
SHOWN = image(copied("/a", "a"), copied("/b/", "b"), copied("/c", "c"), copied("/d", "d", word="ADD"))
COMMIT = "0123456789" * 4


def source(url: str = "https://git.example.org/Shop/Web.git", **more: Any) -> Source:
    return Source.model_validate({"uid": "s", "name": "web", "url": url, "images": ["*"], **more})


class Git:
    """A repository that has these files."""

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.asked: list[tuple[str, list[str], int]] = []
        self.trouble: Exception | None = None

    def look(self, revision: str, paths: list[str], commits: int) -> Checkout:
        self.asked.append((revision, paths, commits))
        if self.trouble:
            raise self.trouble
        return Checkout(revision or "f" * 40, self.files, (frozenset({"src/x"}), frozenset({"doc"})), 7)


def test_which_copies_a_commit_touches() -> None:
    known = fitted(SHOWN, TEXT)
    assert known is not None

    def of(*paths: str, context: str = ".", ignored: tuple[str, ...] = ()) -> list[int]:
        [found] = touched(known, [paths], context, ignored)
        return sorted(found)

    assert of("src/a/b", "srcs") == [0]
    assert of("one.bin", "lib/x") == [1]
    assert of("below/one.bin", "x", "README") == []
    assert of("docker/src/x", context="docker") == [0]
    assert of("src/x", context="./docker/") == []
    assert of("src/x", ignored=("src",)) == []
    assert of("src/x", "lib/y", ignored=("# all", "*", "!lib")) == [1]
    assert of("src/a/x.pyc", ignored=("**/*.pyc",)) == []
    assert of("src/a/x.py", ignored=("**/*.pyc", "", "src/?")) == []
    assert of("src/b", ignored=("src/[a-c]",)) == []
    assert of("src/b", ignored=("src/[^a-c]", "src/[", "src/[]")) == [0]


def test_hostile_patterns_take_no_time() -> None:
    known = fitted(SHOWN, TEXT)
    assert known is not None
    begun = time.process_time()
    touched(known, [["src/" + "a/" * 100 + "b"]], ".", ["**/a" * 40, "*a" * 40, "[" * 1000])
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "said",
    [
        "https://git.example.org/shop/web",
        "git@git.example.org:Shop/Web.git",
        "ssh://git@git.example.org/shop/web.git",
        "https://user@git.example.org/shop/web/",
        "git+https://GIT.example.org/shop/web.git",
        "",
    ],
)
def test_an_address_is_known_however_it_is_written(said: str) -> None:
    other = source("https://git.example.org/shop/other.git")
    wanted = source()
    assert chosen([wanted, other], said) is wanted
    assert chosen([], said) is None


@pytest.mark.parametrize("said", ["https://evil.example.org/shop/web", "https://git.example.org/shop/web2", "x", "/"])
def test_an_address_that_is_not_declared_is_not_asked(said: str) -> None:
    assert chosen([source()], said) is None


def test_found_in_the_repository() -> None:
    git = Git(**{"d/File": TEXT.encode(), ".dockerignore": b"doc\n"})
    declared = source(dockerfile="d/File", tracker="t")
    search = find(replace(SHOWN, revision=COMMIT), Attested(), [declared], lambda one: git, 9)  # type: ignore[arg-type,return-value]
    assert git.asked == [(COMMIT, ["d/File", "d/File.dockerignore", ".dockerignore"], 9)]
    found = search.found
    assert found is not None
    assert (found.path, found.url, found.revision, found.source) == ("d/File", declared.url, COMMIT, declared)
    assert found.commits == (frozenset({0}), frozenset())
    assert search.fetched == 7


def test_what_is_attested_counts_first_and_git_tells_how_often() -> None:
    git = Git(Dockerfile=b"FROM scratch\n")
    search = find(SHOWN, Attested(TEXT, "Dockerfile"), [source()], lambda one: git, 9)  # type: ignore[arg-type,return-value]
    assert search.found is not None
    assert (search.found.text, search.found.commits[0]) == (TEXT, frozenset({0}))
    alone = find(SHOWN, Attested(TEXT, "File", revision="not a commit"), [], lambda one: git, 9)  # type: ignore[arg-type,return-value]
    assert alone.found is not None
    assert (alone.found.path, alone.found.url, alone.found.revision) == ("File", "", "")


def test_why_there_is_none() -> None:
    git = Git()
    declared = [source()]

    def why(**more: Any) -> str:
        return find(replace(SHOWN, **more), Attested(), declared, lambda one: git, 9).why  # type: ignore[arg-type,return-value]

    assert why() == "Dockerfile is not there, or too large"
    git.files = {"Dockerfile": b"FROM scratch\nRUN a\n"}
    assert why() == "its steps are not those of the image"
    git.trouble = PermanentError("no such repository")
    assert why() == "no such repository"
    assert find(SHOWN, Attested(), [], lambda one: git, 9).why == ""  # type: ignore[arg-type,return-value]
    git.trouble = RetryableError("later")
    with pytest.raises(RetryableError, match="later"):
        why()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        json.dumps({"predicate": {"metadata": 1, "runDetails": []}}).encode(),
        json.dumps(
            {
                "predicate": {
                    "runDetails": {"metadata": {"buildkit_metadata": {"source": {"infos": [{"data": "?"}, 1]}}}}
                }
            }
        ).encode(),
    ],
)
def test_statements_that_tell_nothing(raw: bytes) -> None:
    assert told(raw, 3) == Attested(fetched=3)


def test_a_dockerfile_that_is_too_long_is_not_told() -> None:
    data = base64.b64encode(b"#" * 300_000).decode()
    kit = {"source": {"infos": [{"filename": "f", "data": data}]}, "vcs": {"source": "u", "revision": "r"}}
    found = told(json.dumps({"predicate": {"runDetails": {"metadata": {"buildkit_metadata": kit}}}}).encode())
    assert (found.dockerfile, found.url, found.revision) == ("", "u", "r")


def test_the_real_hadolint() -> None:
    text = "FROM debian\nRUN cd /srv\nRUN apt-get install -y gcc\n"
    levels = {(one.code, one.level, one.line) for one in faults(text, "style")}
    assert {("DL3006", "warning", 1), ("DL3003", "warning", 2), ("DL3015", "info", 3)} <= levels
    assert {one.level for one in faults(text, "warning")} == {"warning"}
    assert faults("FROM debian:12\n", "style") == []
    assert [one.code for one in faults("no Dockerfile", "error")] == ["DL1000"]


def test_settings_of_a_folder_do_not_count(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".hadolint.yaml").write_text("ignored: [DL3003]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HADOLINT_IGNORE", "DL3003")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "DL3003" in {one.code for one in faults("FROM a:1\nRUN cd /srv\n", "warning")}


def test_a_hadolint_that_does_not_answer(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "hadolint"
    for said, expected in (
        ("exit 3", "ends with 3"),
        ("echo no JSON", "as documented"),
        ("echo '[1]'", "as documented"),
        ("exec sleep 60", "TimeoutExpired"),
    ):
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)
        monkeypatch.setattr(hadolint, "program", lambda: str(program))
        monkeypatch.setattr(hadolint, "SECONDS", 0.5)
        with pytest.raises(NoHadolint, match=expected):
            faults("FROM a\n", "error")
    monkeypatch.setattr(hadolint, "program", lambda: None)
    with pytest.raises(NoHadolint, match="not there"):
        faults("FROM a\n", "error")
