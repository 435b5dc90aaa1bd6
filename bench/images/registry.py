"""How much memory it takes to analyse a repository of 1,000 tags, and as many manifests that lost theirs, in one run.

A real registry on loopback, and a fresh process that plans what to delete as the function does: its peak is its own
high-water mark, from its start, with everything that it imports.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.registry import Registry
from paydown.clients.registry import RegistryApi
from paydown.clients.registry_content import OCI_MANIFEST, Manifest, digest_of

TAGS = 1_000
LAYERS = 12
POOL = 40
REPOSITORY = "bench/app"
DAYS = 30

PLANNER = r"""
import json, re, sys
from datetime import UTC, datetime
from pathlib import Path
from functions.clean_registry.app import CleanRegistry, Settings
from paydown.events import Sweep
from paydown.inventory import Inventory
from paydown.policy import Policy
from paydown.toil import Scene
inventory = Inventory.parse(json.loads(sys.argv[1]))
event = Sweep(key="bench", at=datetime.now(UTC), rule="bench")
(target,) = CleanRegistry.targets(event, inventory)
scene = Scene("bench", event, inventory, Policy(), Settings(limit=2000), True, lambda: datetime.now(UTC), print, print)
draft = CleanRegistry(scene).plan(target)
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"peak": peak, **{name: draft.before[name] for name in ("tags", "manifests", "untagged")}}))
"""


def measure(tags: int = TAGS) -> dict[str, float]:
    """The peak of the planning process in MiB, and how long it took, in seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="paydown-bench-") as folder,
        Registry(Path(folder), "http://127.0.0.1:9/", "unused") as registry,
    ):
        fill(registry, tags)
        entry = {
            "uid": "r",
            "name": registry.host,
            "url": registry.url,
            "repositories": [REPOSITORY],
            "storage": {"via": "folder", "path": str(registry.folder / "images")},
        }
        begun = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", PLANNER, json.dumps({"registries": [entry]})],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        seconds = time.monotonic() - begun
    if ended.returncode:
        raise SystemExit(ended.stderr)
    found = json.loads(ended.stdout)
    if (found["tags"], found["untagged"]) != (tags, tags):
        raise SystemExit(f"the planner saw another repository: {found}")
    print(f"{tags} tags and as many manifests without one in {seconds:.1f} s", file=sys.stderr)
    return {"registry_peak_mb": round(found["peak"], 1)}


def fill(registry: Registry, tags: int) -> None:
    """Move each tag once, so that it leaves a manifest behind; then let all of it look old."""
    api = RegistryApi(registry.url, dict)
    pool = []
    for number in range(POOL):
        content = f"layer {number}".encode()
        api.upload_blob(REPOSITORY, digest_of(content), [content])
        pool.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(content), "size": 9})
    config = b'{"architecture":"amd64","os":"linux"}'
    api.upload_blob(REPOSITORY, digest_of(config), [config])
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(config), "size": 37}

    def moved(tag: int) -> None:
        for turn in range(2):
            layers = [pool[(tag + turn + layer) % POOL] for layer in range(LAYERS)]
            document = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": described,
                "layers": layers,
                "annotations": {"turn": f"{tag}.{turn}"},
            }
            api.put_manifest(REPOSITORY, f"v{tag}", Manifest.made(document, OCI_MANIFEST))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(moved, range(tags)))
    moment = time.time() - DAYS * 86_400
    for path in _links(registry.folder):
        os.utime(path, (moment, moment))


def _links(folder: Path) -> Iterator[Path]:
    yield from folder.rglob("_manifests/**/link")
