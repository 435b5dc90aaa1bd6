"""Advice with the Dockerfile at hand: from a real git repository or an attestation, with the real hadolint."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from functions.advise_image_layers.sources import hadolint
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_INDEX, OCI_MANIFEST, Manifest, digest_of
from tests.real.git_server import GitServer, GitWork, git_server
from tests.real.image_advice import KB, Advise, Images
from tests.real.image_builds import Builds
from tests.servers import need

TOLERANCE = 0.1
DOCKERFILE = """# syntax is plain
FROM BASE
# the program, which changes all the time
COPY --chown=7:8 src /srv/src/
COPY lib \\
     /usr/lib/lib

ADD data /data
RUN mkdir /t && echo a > /t/a
RUN echo b \\
    > /t/b
RUN echo c > /t/c
CMD ["/srv/src/run"]
"""


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    """A server of repositories."""
    with git_server(tmp_path_factory.mktemp("git")) as running:
        yield running


def source(images: Images, work: GitWork, name: str, **more: Any) -> dict[str, Any]:
    """What the inventory says of a repository."""
    return {"uid": name, "name": name, "url": work.url, "images": [f"{images.registry.host}/{name}"], **more}


def rules(action: Any) -> list[tuple[str, tuple[int, int]]]:
    """What is advised, and of which lines."""
    return [(one.rule, one.lines) for one in action.advice]


def rebuilt(builds: Builds, dockerfile: str, commits: list[dict[str, bytes]]) -> list[int]:
    """The bytes that each commit but the first builds again, as the builder says which steps it took."""
    found = []
    for files in commits:
        builds.files |= files
        steps = builds.build(dockerfile)
        found.append(sum(builds.sizes()[-steps:]) if steps else 0)
    return found[1:]


@pytest.mark.parametrize("kit", [False, True])
def test_commits_tell_the_order(images: Images, git: GitServer, advise: Advise, kit: bool) -> None:
    """What is predicted of a commit on average is what real builders build, commit by commit."""
    need(hadolint.program(), "hadolint is not installed (it is in requirements/dev.txt)")
    name = f"counted-{int(kit)}"
    work = git.repository(name)
    dockerfile = DOCKERFILE.replace("BASE", images.base)

    def some(size: int, *names: str) -> dict[str, bytes]:
        return {file: os.urandom(size * KB) for file in names}

    first = {**some(150, "src/a", "src/b"), **some(600, "lib"), **some(900, "data")}
    commits = [first, some(150, "src/a"), some(600, "lib"), some(150, "src/b"), some(1, "notes")]
    for number, files in enumerate(commits):
        revision = work.commit({**files, **({} if number else {"docker/Dockerfile": dockerfile.encode()})})
    builds = images.builds(name, kit)
    before = rebuilt(builds, dockerfile, commits)
    action, draft = advise(name, sources=[source(images, work, name, dockerfile="docker/Dockerfile")])
    assert action is not None, draft
    assert (action.path, action.revision, action.source) == ("docker/Dockerfile", revision, work.url)
    assert draft.before["git_bytes_fetched"] < 20 * KB
    assert [one for one in rules(action) if not one[0].startswith("hadolint/")] == [
        ("frequent-before-rare", (4, 4)),
        ("merge-run", (9, 9)),
        ("add-for-copy", (8, 8)),
        ("floating-base", (2, 2)),
    ]
    [order] = [one for one in action.advice if one.rule == "frequent-before-rare"]
    assert "src in 2; lib in 1" in order.text
    assert "Of the last 4 commits" in order.text

    tree, config = builds.tree(), builds.config()
    lines = action.dockerfile.splitlines()
    assert lines[:2] == dockerfile.splitlines()[:2]
    assert lines[-1] == 'CMD ["/srv/src/run"]'
    assert [lines.index(one) for one in ("# the program, which changes all the time", "ADD data /data")] == [5, 2]
    proposed = images.builds(f"{name}-after", kit)
    after = rebuilt(proposed, action.dockerfile, commits)
    assert (proposed.tree(), proposed.config()) == (tree, config)
    saved = [one - other for one, other in zip(before, after, strict=True) if one]
    assert sum(saved) / len(saved) == pytest.approx(order.saves_bytes, rel=TOLERANCE)


@pytest.mark.parametrize("kit", [False, True])
def test_commits_tell_what_could_come_after_commands(images: Images, git: GitServer, advise: Advise, kit: bool) -> None:
    name = f"counted-commands-{int(kit)}"
    work = git.repository(name)
    dockerfile = f"FROM {images.base}\nCOPY src /srv/src/\nRUN dd if=/bin/busybox of=/made bs=1000 count=900\n"
    commits = [{"src/a": os.urandom(150 * KB)} for _ in range(3)]
    for number, files in enumerate(commits):
        work.commit({**files, **({} if number else {"Dockerfile": dockerfile.encode()})})
    builds = images.builds(name, kit)
    before = rebuilt(builds, dockerfile, commits)
    action, draft = advise(name, sources=[source(images, work, name)], hadolint="off")
    assert action is not None, draft
    assert rules(action) == [("frequent-before-commands", (2, 2)), ("floating-base", (1, 1))]
    order = action.advice[0]
    assert (order.asks, action.dockerfile) == (True, "")
    assert "?" in order.text
    tree, config = builds.tree(), builds.config()
    proposed = images.builds(f"{name}-after", kit)
    after = rebuilt(proposed, order.dockerfile, commits)
    assert (proposed.tree(), proposed.config()) == (tree, config)
    saved = [one - other for one, other in zip(before, after, strict=True)]
    assert sum(saved) / len(saved) == pytest.approx(order.saves_bytes, rel=TOLERANCE)


def test_stages_of_the_dockerfile_at_hand_stay_when_the_compiler_goes(
    images: Images, git: GitServer, advise: Advise
) -> None:
    """What the other stages make is copied still, and so is what no command of the build names."""
    tools = images.builds("tools-at-hand")
    tools.files = {
        "apk": b"#!/bin/sh\nmkdir -p /usr/lib && dd if=/dev/urandom of=/usr/lib/$2 bs=1000 count=800\n",
        "gcc": b"#!/bin/sh\ncp $3 $2\n",
    }
    tools.build(f'FROM {images.base}\nCOPY apk gcc /bin/\nCMD ["/bin/sh"]\n')
    text = (
        f"FROM {images.base} AS deps\nCOPY conf /conf\n\nFROM {tools.image} AS final\n"
        "RUN apk add gcc\nWORKDIR /src\nCOPY a.c ./\nRUN gcc -o /a a.c\n"
        'COPY --from=deps /conf /etc/conf\nCOPY --chown=7 data /data\nCMD ["/a"]\n'
    )
    work = git.repository("compiled-at-hand")
    builds = images.builds("compiled-at-hand")
    builds.files = {"a.c": os.urandom(50 * KB), "conf": os.urandom(KB), "data": os.urandom(KB)}
    work.commit({"Dockerfile": text.encode()})
    builds.build(text)
    tree, config, size = builds.tree(), builds.config(), sum(builds.sizes())
    action, draft = advise("compiled-at-hand", sources=[source(images, work, "compiled-at-hand")], hadolint="off")
    assert action is not None, draft
    [advice] = [one for one in action.advice if one.rule == "compiler-left"]
    assert advice.asks
    assert "#   RUN gcc -o /a a.c\n" in advice.dockerfile
    builds.build(advice.dockerfile)
    slim = builds.tree()
    assert set(tree) - set(slim) == {"src/a.c", "usr", "usr/lib", "usr/lib/gcc"}
    assert slim == {path: entry for path, entry in tree.items() if path in slim}
    assert builds.config() == config
    assert size - sum(builds.sizes()) == pytest.approx(advice.saves_bytes, rel=TOLERANCE)


def test_lines_of_a_stage_and_of_hadolint(images: Images, git: GitServer, advise: Advise) -> None:
    work = git.repository("staged")
    text = (
        f"FROM {images.base} AS build\nCOPY src /src\nRUN cat /src > /made\n\n"
        f"FROM {images.base} AS final\nWORKDIR /srv\nCOPY --from=build /made made\nCOPY src src\nRUN cd /srv\n"
        'LABEL a="b c" org.opencontainers.image.revision=REVISION\nCMD ["/made"]\n'
    )
    files = {"src": os.urandom(200 * KB)}
    first = work.commit({**files, "Dockerfile": text.encode()})
    work.commit({"Dockerfile": b"FROM scratch\n"})  # the newest is another one: the label names the first
    builds = images.builds("staged")
    builds.files = files
    builds.build(text.replace("REVISION", first))
    action, draft = advise("staged", sources=[source(images, work, "staged")], hadolint="warning")
    assert action is not None, draft
    assert action.revision == first
    assert ("hadolint/DL3003", (9, 9)) in rules(action)
    assert ("floating-base", (5, 5)) in rules(action)
    assert "line 9: RUN cd /srv" in action.text
    quiet, _ = advise("staged", sources=[source(images, work, "staged")], hadolint="off")
    assert quiet is not None
    assert rules(quiet) == [("floating-base", (5, 5))]


def test_a_dockerfile_that_is_another_one(images: Images, git: GitServer, advise: Advise) -> None:
    work = git.repository("other")
    work.commit({"Dockerfile": b"FROM scratch\nCOPY a /elsewhere\n"})
    builds = images.builds("other", a=b"1")
    builds.build("FROM scratch\nCOPY a /a\n")
    _, draft = advise("other", sources=[source(images, work, "other")])
    assert draft.before["no_dockerfile"] == "its steps are not those of the image"
    gone = {**source(images, work, "other"), "url": f"{work.url}.gone"}
    _, draft = advise("other", sources=[gone])
    assert "has no such repository" in draft.before["no_dockerfile"]


def attest(images: Images, name: str, dockerfile: str, vcs: Mapping[str, str], *, new: bool) -> str:
    """Put an index over what the tag points to, with an attestation of the documented shape; the index' digest."""
    api = RegistryApi(images.registry.url, dict)
    image = api.manifest(name, "latest")

    def blob(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = digest_of(content)
        api.upload_blob(name, digest, [content])
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    kit = {
        "vcs": dict(vcs),
        "source": {"infos": [{"filename": "Dockerfile", "data": base64.b64encode(dockerfile.encode()).decode()}]},
    }
    kind = f"https://slsa.dev/provenance/{'v1' if new else 'v0.2'}"
    predicate = (
        {"runDetails": {"metadata": {"buildkit_metadata": kit}}}
        if new
        else {"metadata": {"https://mobyproject.org/buildkit@v1#metadata": kit}}
    )
    statement = json.dumps(
        {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": kind, "predicate": predicate}
    )
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(b"{}", "application/vnd.oci.image.config.v1+json"),
        "layers": [
            blob(statement.encode(), "application/vnd.in-toto+json", annotations={"in-toto.io/predicate-type": kind})
        ],
    }
    said = Manifest.made(document, OCI_MANIFEST)
    api.put_manifest(name, said.digest, said)
    listed = [
        {"mediaType": image.media_type, "digest": image.digest, "size": len(image.raw)}
        | {"platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": OCI_MANIFEST, "digest": said.digest, "size": len(said.raw)}
        | {"platform": {"os": "unknown", "architecture": "unknown"}}
        | {
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image.digest,
            }
        },
    ]
    index = Manifest.made({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}, OCI_INDEX)
    return api.put_manifest(name, "latest", index)


@pytest.mark.parametrize("new", [False, True])
def test_an_attestation_has_the_dockerfile(images: Images, git: GitServer, advise: Advise, new: bool) -> None:
    name = f"attested-{int(new)}"
    text = "FROM scratch\n\nADD a /a\n"
    builds = images.builds(name, a=b"1")
    builds.build(text)
    work = git.repository(name)
    revision = work.commit({"Dockerfile": b"FROM scratch\n"})
    attest(images, name, text, {"source": work.url, "revision": revision}, new=new)
    action, draft = advise(name, hadolint="off")
    assert action is not None, draft
    assert rules(action) == [("add-for-copy", (3, 3))]
    assert (action.source, action.path, action.revision) == ("", "Dockerfile", revision)
    known, _ = advise(name, sources=[source(images, work, name)], hadolint="off")
    assert known is not None
    assert (known.source, known.revision) == (work.url, revision)
    # An address that the inventory does not name is not asked.
    asked = len(git.answers)
    elsewhere = {**source(images, work, name), "url": f"{git.url}/another.git"}
    other, _ = advise(name, sources=[elsewhere], hadolint="off")
    assert other is not None
    assert (other.source, len(git.answers)) == ("", asked)
