"""What docs/guardrails.md tells is so."""

import json
import re
from pathlib import Path

import pytest

from cli.advice import ADVICE
from paydown import guardrails
from paydown.limits import BlastRadius
from paydown.policy import Policy

PROJECT = Path(__file__).resolve().parents[3]
PAGE = (PROJECT / "docs/guardrails.md").read_text()
OF_GUARDS, OTHERS = PAGE.split("\n## The other codes\n")


def test_the_page_has_every_guards_code_in_the_order_in_which_they_are_asked():
    documented = re.findall(r"^`(\w+)` +(defer|hold|refuse) ", guardrails.__doc__, re.MULTILINE)
    assert re.findall(r"^\| `(\w+)` \| (\w+) \|", OF_GUARDS, re.MULTILINE) == documented


def test_the_page_and_the_command_know_the_same_codes():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", OF_GUARDS + OTHERS.split("\n## ")[0], re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"\w+", row)} == set(ADVICE)


@pytest.mark.parametrize("example", re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_are_taken(example):
    assert Policy.parse(json.loads(example)).toils


def test_the_table_of_small_pools():
    head, _, limits = re.search(r"\| members \|(.*)\n(.*)\n\| may be down at once \|(.*)\n", PAGE).groups()
    for members, limit in zip(head.strip(" |").split("|"), limits.strip(" |").split("|"), strict=True):
        first, *last = re.findall(r"\d+", members)
        for total in range(int(first), int(last[0] if last else first) + 1):
            assert BlastRadius().limit(total) == int(limit), total


@pytest.mark.parametrize("path", ["local/app/documents/policy.json", "examples/policy.json"])
def test_the_policies_that_come_with_the_project_are_taken(path):
    assert Policy.parse(json.loads((PROJECT / path).read_text())).toils
