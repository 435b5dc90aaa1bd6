"""A real git repository, read over HTTP: files at a commit, and what its commits changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from paydown.clients import git
from paydown.clients.git import GitRepository, open_git
from paydown.clients.web import NotThere
from paydown.errors import PermanentError
from paydown.inventory import Source
from tests.real.git_server import GitServer, GitWork, git_server, run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server of repositories."""
    with git_server(tmp_path_factory.mktemp("git")) as running:
        yield running


@pytest.fixture(scope="module")
def shop(server: GitServer) -> tuple[GitWork, list[str]]:
    """A repository with some commits, the oldest first."""
    made = server.repository("shop")
    commits = [
        made.commit({"Dockerfile": b"FROM scratch\n", "src/a": b"1", "lib/big": b"x" * 400_000}),
        made.commit({"src/a": b"2"}),
        made.commit({"src/a": b"3", "lib/b/c": b"1"}),
        made.commit({"Dockerfile": b"FROM scratch\nCOPY src /\n"}),
    ]
    return made, commits


def test_files_and_changes(shop: tuple[GitWork, list[str]]) -> None:
    work, commits = shop
    found = GitRepository(work.url, dict).look("", ["Dockerfile", "src", "not/there", "src/a"], 10)
    assert found.revision == commits[-1]
    assert found.files == {"Dockerfile": b"FROM scratch\nCOPY src /\n", "src/a": b"3"}
    assert found.changes == (frozenset({"Dockerfile"}), frozenset({"src/a", "lib/b/c"}), frozenset({"src/a"}))
    assert 0 < found.fetched < 10_000


def test_an_older_commit_and_no_further_than_asked(shop: tuple[GitWork, list[str]]) -> None:
    work, commits = shop
    found = GitRepository(work.url, dict).look(commits[2], ["Dockerfile"], 1)
    assert found.files == {"Dockerfile": b"FROM scratch\n"}
    assert found.changes == (frozenset({"src/a", "lib/b/c"}),)


def test_a_merge_counts_once(server: GitServer) -> None:
    work = server.repository("merged")
    work.commit({"a": b"1"})
    run(work.folder, "checkout", "--quiet", "-b", "side")
    work.commit({"b": b"1"})
    work.commit({"b": b"2"})
    run(work.folder, "checkout", "--quiet", "main")
    run(work.folder, "merge", "--quiet", "--no-ff", "--message", "merged", "side")
    work.commit({"c": b"1"})
    assert GitRepository(work.url, dict).look("", [], 10).changes == (frozenset("c"), frozenset("b"))


def test_what_is_not_there(server: GitServer, shop: tuple[GitWork, list[str]]) -> None:
    work, _ = shop
    with pytest.raises(NotThere):
        GitRepository(f"{server.url}/nothing.git", dict).look("", [], 1)
    with pytest.raises(NotThere):
        GitRepository(work.url, dict).look("0" * 40, [], 1)
    with pytest.raises(PermanentError, match="is no commit"):
        GitRepository(work.url, dict).look("main; rm", [], 1)
    with pytest.raises(PermanentError, match="without TLS"):
        GitRepository("http://git.example.org/shop.git", dict)
    server.repository("empty")
    with pytest.raises(NotThere):
        GitRepository(f"{server.url}/empty.git", dict).look("", [], 1)


def test_redirects_are_not_followed(server: GitServer, shop: tuple[GitWork, list[str]]) -> None:
    with pytest.raises(PermanentError, match="302"):
        GitRepository(f"{server.url}/elsewhere/shop.git", dict).look("", [], 1)
    assert server.answers[-1] == 302


def test_a_large_repository_is_left(shop: tuple[GitWork, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = shop
    monkeypatch.setattr(git, "PACK_LIMIT", 100)
    with pytest.raises(PermanentError, match="more than 100 bytes"):
        GitRepository(work.url, dict).look("", [], 10)


def test_a_large_file_is_not_told(shop: tuple[GitWork, list[str]]) -> None:
    work, _ = shop
    assert GitRepository(work.url, dict).look("", ["lib/big"], 1).files == {}


def test_credentials(tmp_path: Path) -> None:
    with git_server(tmp_path, password="a secret") as server:
        work = server.repository("shop")
        commit = work.commit({"a": b"1"})
        source = Source(uid="s", name="shop", url=work.url, images=("*",), secret="sources/shop")
        stranger = source.model_copy(update={"secret": None})
        known = {"username": "reader", "password": "a secret"}
        assert open_git(source, lambda name: known).look("", ["a"], 1).revision == commit
        with pytest.raises(PermanentError, match="401"):
            open_git(stranger, lambda name: known).look("", ["a"], 1)
        with pytest.raises(PermanentError, match="must be a JSON object"):
            open_git(source, lambda name: {}).look("", ["a"], 1)
