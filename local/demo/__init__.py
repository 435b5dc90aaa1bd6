"""`make demo`: the application without a terminal, the events under `events/`, and what became of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path

from local.app.application import Application, Progress
from local.app.engine import Engine
from local.app.lock import only_one
from local.demo import scenes
from local.demo.images import Images, labels
from local.demo.results import table, write
from local.demo.stage import Stage
from local.packages import load_template

SERVING = {"report_outcome", "decide"}
"""No toil types, though they have queues: what they get comes from the ledger and from people on tickets."""


def demo(state: Path) -> int:
    """Run the demo; 0 when everything came as expected. Raises AlreadyRunning, ServiceError, DeployError."""
    progress = Progress()
    file = state / "demo.json"
    with only_one(state / "demo.lock", "make demo"):
        file.unlink(missing_ok=True)
        shutil.rmtree(state / "demo", ignore_errors=True)
        application = Application(state / "demo", labels(), progress=progress).look_around()
        # In this order: when everything has stopped, nobody makes an image any more.
        with _images(application.engine) as host, application:
            stage = Stage(application)
            if host:
                preparing = application.services.begin(lambda: host.prepare(list(scenes.DISK_TAGS)))
                application.start()
                application.services.join(preparing)
            else:
                application.start()
            progress("everything runs; the demo begins")
            _play(stage, host)
            progress("stopping everything")
    write(stage.results, file)
    return _tell(stage, file, progress.seconds)


@contextmanager
def _images(engine: Engine | None) -> Iterator[Images | None]:
    if engine is None:
        yield None
        return
    host = Images(engine)
    try:
        yield host
    finally:
        host.clean_up()


def _play(stage: Stage, host: Images | None) -> None:
    """The scenes: what happens to nodes and to images at the same time, the rest after it."""
    cluster = stage.application.stand_in
    if cluster is None:
        raise RuntimeError("the demo's cluster is the stand-in")
    acts: list[Callable[[], None]] = [lambda: scenes.nodes(stage, cluster)]
    if host:
        acts.append(lambda: scenes.images(stage, host))
    _together(stage, acts)
    _together(stage, [lambda: scenes.tickets(stage)])
    if not all(result.right for result in stage.results):
        return  # what went wrong may well keep the rest waiting
    skipped = {*SERVING, *(() if host else ("clean_dangling_images",))}
    toils = [toil for toil in toil_types() if toil not in skipped]
    _together(stage, [lambda: scenes.others(stage, toils)])


def toil_types() -> list[str]:
    """The toil types of the template, by their queues."""
    queues = [
        entry["Properties"].get("QueueName")
        for entry in load_template()["Resources"].values()
        if entry["Type"] == "AWS::SQS::Queue"
    ]
    names = [queue["Fn::Sub"].partition("-toil-")[2] for queue in queues if queue]
    return sorted(filter(None, names))


def _together(stage: Stage, acts: list[Callable[[], None]]) -> None:
    """Play these at the same time. One that fails is a result that is not as expected."""
    futures = [stage.application.services.begin(act) for act in acts]
    wait(futures)
    for future in futures:
        error = future.exception()
        if isinstance(error, Exception):
            stage.book(scenes.failure(error))


def _tell(stage: Stage, file: Path, seconds: float) -> int:
    """Print what came of it; the exit status."""
    wrong = [result for result in stage.results if not result.right]
    print(f"\n{table(stage.results)}\n")
    for what in stage.application.left_out:
        print(f"left out: {what}")
    verdict = f"{len(wrong)} of {len(stage.results)} are NOT as expected" if wrong else "everything came as expected"
    print(f"{verdict}, in {seconds:.0f} s; the evidence is in {file}", flush=True)
    return 1 if wrong or not stage.results else 0
