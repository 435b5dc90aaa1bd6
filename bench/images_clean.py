"""What a clean-up of 1,000 dangling images takes, planned, guarded by a last look at each, and verified, against prune.

`python -m bench.images_clean` starts a Docker engine of its own, loads the same number of images twice, removes the
first with `docker image prune` and the second with `clean_dangling_images`, and prints as JSON on the last line
`{"clean_ratio": …}`: our time by that of prune. The images have a layer in common and one of their own. Their times
alternate over `ROUNDS`, so that a machine that is busy for a while does not favour one. Needs root and dockerd.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.clean_dangling_images.app import CleanDanglingImages, Settings
from paydown.events import Sweep
from paydown.inventory import Host, Inventory, Unix
from paydown.plan import Applied, Done, Draft, NotYet, Plan, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene
from tests.real.docker_engine import Engine, archive

COUNT = 1000
ROUNDS = 2


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


def main() -> None:
    """Measure, and print the ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    ours, theirs = 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="paydown-bench-") as folder:
        engine = Engine(Path(folder)).start()
        try:
            host = Host(uid="h", name="build-1", reach=Unix(via="unix", path=str(engine.socket)))
            for number in range(ROUNDS):
                _load(engine, count)
                started = time.monotonic()
                engine.docker("image", "prune", "--force")
                theirs += time.monotonic() - started
                _load(engine, count)
                started = time.monotonic()
                went = cleaned(host)
                ours += time.monotonic() - started
                if went != count or engine.images():
                    raise RuntimeError(f"{went} of {count} images went")
                print(f"after {number + 1} rounds: prune {theirs:.1f} s, ours {ours:.1f} s", flush=True)
        finally:
            engine.stop()
    print(json.dumps({"clean_ratio": round(ours / theirs, 2)}))


def _load(engine: Engine, count: int) -> None:
    engine.docker("load", "--quiet", stdin=images(count))
    if len(engine.dangling()) != count:
        raise RuntimeError("the images did not arrive")


if __name__ == "__main__":
    main()
