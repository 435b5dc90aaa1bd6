"""The toil type that CONTRIBUTING.md shows follows the contract as it stands."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from paydown.events import Sweep
from paydown.inventory import Host, Inventory, Unix
from paydown.plan import Done, Draft, Plan, Record, Step, StepState, Verified
from paydown.policy import Policy
from paydown.toil import Scene

PAGE = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()
NOW = datetime(2026, 1, 15, tzinfo=UTC)
HOST = Host(uid="h1", name="build-1", reach=Unix(via="unix", path="/s"))


def test_it_does_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    module = ModuleType("functions.note_sweep.app")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)  # noqa: S102 -- the project's own page
    kind = module.NoteSweep
    event = Sweep(key="s1", at=NOW, rule="hourly")
    scene = Scene(
        run_id="r1",
        event=event,
        inventory=Inventory(hosts=(HOST,)),
        policy=Policy(),
        settings=kind.Settings(),
        observing=False,
        now=lambda: NOW,
        nudge=lambda toil, event, ref: None,
        has_run=lambda toil, event, target: False,
    )
    toil = kind(scene)
    assert (kind.name, list(kind.targets(event, scene.inventory))) == ("note_sweep", [HOST])
    draft = toil.plan(HOST)
    assert isinstance(draft, Draft)
    [action] = Plan.from_draft(draft).actions
    result = toil.apply(action, HOST)
    assert result == Done({"note": "s1 came by build-1"})
    record = Record({}, [Step(0, 0, action, StepState.DONE, result.evidence)], NOW)
    assert toil.verify(HOST, record) == Verified({"notes": 1})
    assert (toil.population(HOST), toil.healer(HOST)) == (None, None)
