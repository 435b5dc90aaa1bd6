"""What docs/recover-node.md shows is what the code takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from functions.recover_node.app import Settings
from paydown.clients.kube import OPT_OUT, STOPPED, healers, pools
from paydown.clients.kube.credentials import Credentials
from paydown.inventory import Inventory
from paydown.policy import Policy

PAGE = (Path(__file__).parents[4] / "docs" / "recover-node.md").read_text()
POLICY, INVENTORY = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))


def test_the_policy_and_the_inventory_are_valid() -> None:
    settings = Policy.parse(POLICY).toils["recover_node"].settings
    assert Settings.model_validate(settings).delete_emptydir_data
    assert Inventory.parse(INVENTORY).node("prod", "worker-1") is not None


def test_each_setting_is_listed_with_its_default() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w.]+) \|", PAGE, re.MULTILINE))
    assert {name: json.loads(text) for name, text in listed.items()} == Settings().model_dump()


def test_the_secrets_are_valid() -> None:
    secrets = [json.loads(text.replace("…", "x")) for text in re.findall(r"^- `(\{.*?\})`:", PAGE, re.MULTILINE)]
    assert len(secrets) == 2
    for secret in secrets:
        Credentials.parse("any", secret)


def test_each_mark_of_a_healer_a_pool_and_a_person_is_listed() -> None:
    marks = {*healers._LABELS, *healers._ANNOTATIONS, *healers._UNLESS.values(), *pools.GROUPS, OPT_OUT, STOPPED}
    assert not [mark for mark in marks if f"`{mark}`" not in PAGE]
    kinds = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## Other healers")[2].partition("\n## ")[0], re.MULTILINE)
    assert tuple(kinds) == healers._ORDER
