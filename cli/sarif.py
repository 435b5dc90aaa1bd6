"""Advice on an image as SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), for tools that show findings."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from cli.version import version

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(action: Any) -> dict[str, Any]:
    """The log of one run. `action` is the `publish_advice` of a plan.

    The place of a result is a line of the Dockerfile, relative to the root of its repository, if that is at hand; else
    the image.
    """
    known = {"repositoryUri": action.source, **({"revisionId": action.revision} if action.revision else {})}
    rules = list(dict.fromkeys(one.rule for one in action.advice))
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "Paydown", "version": version(), "rules": [{"id": rule} for rule in rules]},
                },
                "artifacts": [
                    {
                        "location": {"uri": f"oci://{action.object}"},
                        "hashes": {"sha-256": action.digest.partition(":")[2]},
                    }
                ],
                **({"versionControlProvenance": [known]} if action.source else {}),
                "results": [_result(action, one, rules) for one in action.advice],
            }
        ],
    }


def _result(action: Any, one: Any, rules: list[str]) -> dict[str, Any]:
    where = {"fullyQualifiedName": f"instruction {one.number}", "name": one.instruction} if one.number else {}
    place: dict[str, Any] = {"artifactLocation": {"uri": f"oci://{action.object}", "index": 0}}
    if action.path and one.lines[0]:
        place = {
            "artifactLocation": {"uri": quote(action.path)},
            "region": {"startLine": one.lines[0], "endLine": one.lines[1]},
        }
    location = {"physicalLocation": place}
    return {
        "ruleId": one.rule,
        "ruleIndex": rules.index(one.rule),
        "kind": "review" if one.asks else "fail",
        "level": "none" if one.asks else "note",
        "message": {"text": one.text},
        "locations": [{**location, **({"logicalLocations": [where]} if where else {})}],
        "properties": {"savesBytes": one.saves_bytes, "savesLayers": one.saves_layers},
    }
