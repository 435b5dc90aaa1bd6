"""Actions as version 0.1 journalled them are read by the present toil types, and are the same to an approval."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from functions.recover_node.actions import Cordon, EvictPod, Uncordon
from paydown.toil import Toil
from tests.unit.functions.recover_node.fake_cluster import ILL, pod

JOURNALLED = json.loads(
    (Path(__file__).parents[2] / "fixtures/ledger_v1/actions/journalled.json").read_text()
)  # made by commit 4980b0d's own classes, from the same fake node


def toil(name: str) -> type[Toil[Any]]:
    module = importlib.import_module(f"functions.{name}.app")
    (found,) = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Toil) and one.__module__ == module.__name__
    ]
    return found


@pytest.mark.parametrize("name", sorted(JOURNALLED))
def test_a_journalled_action_is_read_and_still_the_one_that_was_approved(name: str) -> None:
    verbs = {action.verb(): action for action in toil(name).does}
    assert {entry["verb"] for entry in JOURNALLED[name]} <= set(verbs)
    for entry in JOURNALLED[name]:
        action = verbs[entry["verb"]].model_validate_json(entry["action"])
        assert list(action.identity) == entry["identity"]


def test_the_same_node_gives_the_same_actions_after_a_deployment() -> None:
    """Else each held drain would be held again, with a difference that nobody sees."""
    ref = "node/demo/worker-1"
    now = [Cordon.of(ref, ILL), EvictPod.of(pod("web-1"), ILL), Uncordon.of(ref, ILL, "recover_node/r1")]
    assert [list(action.identity) for action in now] == [entry["identity"] for entry in JOURNALLED["recover_node"]]
