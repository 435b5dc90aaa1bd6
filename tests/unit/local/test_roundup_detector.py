"""Which comments our Roundup detector announces, by the way on which they came; a real Roundup shows the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from local import roundup_detector


class Nodes:
    """Stands for a class of Roundup's database."""

    def __init__(self, nodes: dict[str, dict[str, Any]]) -> None:
        self.nodes = nodes

    def get(self, id: str, name: str) -> Any:
        return self.nodes[id][name]


@pytest.mark.parametrize(
    ("way", "announced"),
    [
        ("web", ["2"]),
        ("rest", ["2"]),
        ("xmlrpc", ["2"]),
        ("email-sig-openpgp", ["2"]),
        ("email", []),  # anybody can write a mail in another's name
        ("cli", []),
        (None, []),
    ],
)
def test_a_decision_counts_by_the_way_on_which_it_came(
    way: str | None, announced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(
        roundup_detector, "announce", lambda db, issues, issue, event, comment: told.append((event, comment))
    )
    messages = {
        "1": {"creator": "4", "content": "/approve 0123456789ab"},  # was on the issue before
        "2": {"creator": "4", "content": "Yes.\n/approve 0123456789ab"},
        "3": {"creator": "4", "content": "hello"},
        "5": {"creator": "6", "content": "/approve 0123456789ab"},  # somebody else wrote it
    }
    db = SimpleNamespace(tx_Source=way, msg=Nodes(messages), getuid=lambda: "4")
    roundup_detector.announce_decisions(db, Nodes({"7": {"messages": list(messages)}}), "7", {"1"})
    assert told == [("issue.commented", comment) for comment in announced]
