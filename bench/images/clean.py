"""What a clean-up of 1,000 dangling images takes, planned, guarded by a last look at each, and verified, against prune.

It starts a Docker engine of its own, loads images, and removes them with `docker image prune` and, out of a copy of
the engine's data, with `clean_dangling_images`; `clean_ratio` is our time by that of prune. The images have a layer in
common and one of their own. Both take turns over `ROUNDS`, in alternate order, so that a machine that is busy for a
while does not favour one. Needs root and dockerd.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from functions.clean_dangling_images.app import CleanDanglingImages, Settings
from paydown.events import Sweep
from paydown.inventory import Host, Inventory, Unix
from paydown.plan import Applied, Done, Draft, NotYet, Plan, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine, archive

COUNT = 1000
ROUNDS = 5


def images(count: int) -> bytes:
    """An archive for `docker load`: untagged images, so that they dangle from the start."""
    base = archive({"base": os.urandom(20_000)})
    files = {"base.tar": base}
    manifest: list[dict[str, Any]] = []
    for number in range(count):
        own = archive({"own": os.urandom(1_000)})
        config = {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Cmd": [str(number)]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}" for layer in (base, own)]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "COPY file /"} for _ in range(2)],
        }
        files |= {f"{number}.tar": own, f"{number}.json": json.dumps(config).encode()}
        manifest.append({"Config": f"{number}.json", "RepoTags": None, "Layers": ["base.tar", f"{number}.tar"]})
    files["manifest.json"] = json.dumps(manifest).encode()
    return _packed(files)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def cleaned(host: Host) -> int:
    """Plan, apply in batches and verify, as the contract does; how many images went."""
    toil = CleanDanglingImages(
        Scene(
            run_id="bench",
            event=Sweep(key="bench", at=datetime.now(UTC), rule="bench"),
            inventory=Inventory(hosts=(host,)),
            policy=Policy(),
            settings=Settings(min_age=0, limit=5_000),
            observing=False,
            now=lambda: datetime.now(UTC),
            nudge=lambda *_: None,
            has_run=lambda *_: False,
        )
    )
    draft = toil.plan(host)
    assert isinstance(draft, Draft)  # noqa: S101 -- nothing is young
    actions = Plan.from_draft(draft).actions
    results: dict[str, Applied] = {}
    while left := [one for one in actions if isinstance(results.get(one.object), NotYet | None)]:
        batch = left[: toil.batch]
        results.update(zip((one.object for one in batch), toil.apply_batch(batch, host), strict=True))
    steps = []
    for index, one in enumerate(actions):
        result = results[one.object]
        if isinstance(result, Done):
            steps.append(Step(index, 0, one, StepState.DONE, result.evidence))
    seen = toil.verify(host, Record(draft.before, steps, datetime.now(UTC)))
    if not isinstance(seen, Verified):
        raise TypeError(f"not verified: {seen}")
    return len(steps)


def measure(count: int = COUNT) -> dict[str, float]:
    """Our time for `count` images by that of prune: the medians, since other work holds up single rounds."""
    took: dict[str, list[float]] = {"prune": [], "ours": []}
    with tempfile.TemporaryDirectory(prefix="paydown-bench-") as folder:
        engine = Engine(Path(folder)).start()
        host = Host(uid="h", name="build-1", reach=Unix(via="unix", path=str(engine.socket)))
        try:
            engine.docker("load", "--quiet", stdin=images(count))
            _stop(engine)
            kept = Path(folder, "kept")
            engine.root.rename(kept)
            for number in range(ROUNDS):
                for name in sorted(took, reverse=bool(number % 2)):
                    subprocess.run(["cp", "--archive", str(kept), str(engine.root)], check=True)
                    engine.start()
                    if len(engine.dangling()) != count:
                        raise RuntimeError("the images did not arrive")
                    started, worked = time.monotonic(), _worked(engine)
                    if name == "ours":
                        cleaned(host)
                    else:
                        engine.docker("image", "prune", "--force")
                    seconds, work = time.monotonic() - started, _worked(engine) - worked
                    if left := engine.images():
                        raise RuntimeError(f"{len(left)} of {count} images are still there")
                    took[name].append(seconds)
                    print(f"round {number + 1}: {name} {seconds:.1f} s, processors {work:.1f} s", file=sys.stderr)
                    _stop(engine)
                    shutil.rmtree(engine.root)
        finally:
            _stop(engine)
    return {"clean_ratio": round(median(took["ours"]) / median(took["prune"]), 2)}


def _stop(engine: Engine) -> None:
    engine.stop()
    subprocess.run(["umount", str(engine.root)], check=False, capture_output=True)  # it mounts its data on themselves


def _worked(engine: Engine) -> float:
    """Processor seconds of the engine, of this process, and of what it started and waited for."""
    pid = (engine.folder / "docker.pid").read_text()
    ticks = Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(os.times()[:4]) + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
