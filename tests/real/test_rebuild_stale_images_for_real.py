"""Images that stand on each other, built by a real engine out of real git repositories, in a real registry."""

from __future__ import annotations

import os

from paydown.ledger import Outcome
from paydown.plan import Done, Moot
from tests.real.rebuilding import World, images, sources, world

__all__ = ["images", "sources", "world"]


def test_a_new_base_is_below_all_that_stood_on_the_old_one_and_nothing_else_moves(world: World) -> None:
    assert world.run("sweep").status is Outcome.SKIPPED  # it remembers what the base is
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed")
    assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
    base, made, web = world.image("base"), world.image("app"), world.image("web")
    assert made.layers[0][: len(base.layers[0])] == base.layers[0]
    assert web.layers[0][: len(made.layers[0])] == made.layers[0]
    assert world.image("other").digest == old["other"]
    assert run.evidence["rebuilt"] == {made.name: made.digest, web.name: web.digest}
    assert run.evidence["stands_on"] == {
        made.name: f"{base.name}@{base.digest}",
        web.name: f"{made.name}@{made.digest}",
    }
    assert run.evidence["previous"] == {made.name: old["app"], web.name: old["web"]}
    assert len(world.marked()) == 2
    again = world.run("image_pushed")
    assert (again.status, again.reasons[0].code) == (Outcome.SKIPPED, "nothing_to_do")
    assert len(world.marked()) == 2


def test_observing_plans_and_builds_nothing(world: World) -> None:
    world.run("sweep")
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed", observing=True)
    assert (run.status, run.actions) == (Outcome.OBSERVED, 4)
    assert world.digests() == old
    assert not world.marked()


def test_a_build_that_fails_is_told_with_its_log_and_what_waits_for_it_is_not_built(world: World) -> None:
    world.run("sweep")
    old = world.digests()
    broken = f"FROM {world.place}/base:latest\nCOPY nothing-token=hunter2hunter2 /srv/app\n"
    world.works["app"].commit({"Dockerfile": broken.encode()})
    world.push_base()
    run = world.run("image_pushed")
    assert run.status is Outcome.UNVERIFIED, (run.status, run.reasons)
    said = run.reasons[0].text
    assert "the build failed" in said
    assert "nothing-token=***" in said
    assert "hunter2" not in str(run)
    assert f"its base {world.place}/app:latest was not rebuilt" in said
    assert world.digests() == old


def test_a_build_that_was_begun_is_not_begun_again(world: World) -> None:
    world.run("sweep")
    world.push_base()
    run = world.run("image_pushed", observing=True)
    start, finish = world.actions(run, "app")
    toil = world.toil(run)
    target = toil.inventory.registries[0]
    for _ in range(2):  # its worker died before it could write down that it began
        assert isinstance(toil.apply(start, target), Done)
    assert len(world.marked()) == 1
    first = toil.apply(finish, target)
    assert isinstance(first, Done)
    assert toil.apply(finish, target) == first
    assert isinstance(toil.apply(start, target), Moot)  # it happened
    assert len(world.marked()) == 1


def test_a_base_that_nobody_remembers_is_found_by_the_name_in_a_label(world: World) -> None:
    base = f"{world.place}/base:latest"
    named = f"FROM {base}\nLABEL org.opencontainers.image.base.name={base}\nCOPY other /srv/other\n"
    content = os.urandom(300)
    world.works["other"].commit({"Dockerfile": named.encode(), "other": content})
    world.engine.build(f"{world.place}/other:latest", named, other=content)
    world.engine.docker("push", "--quiet", f"{world.place}/other:latest")
    old = world.digests()
    world.push_base()
    run = world.run("image_pushed")  # no sweep before: what the base was is not known
    assert run.status is Outcome.VERIFIED, (run.status, run.reasons)
    new = world.digests()
    assert new["other"] != old["other"]
    assert (new["app"], new["web"]) == (old["app"], old["web"])
