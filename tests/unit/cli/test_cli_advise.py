"""`paydown advise`: what was last advised, as text, JSON and SARIF."""

from __future__ import annotations

import pytest

from cli.sarif import sarif
from functions.advise_image_layers.advice import Advice
from functions.advise_image_layers.app import PublishAdvice
from paydown.events import ImagePushed
from paydown.inventory import Inventory
from paydown.ledger import Outcome
from paydown.plan import Plan

DIGEST = "sha256:" + "1" * 64
NAME = "images.example.org:5000/shop/web:latest"
ADVICE = (
    Advice(
        rule="volatile-before-stable",
        text="later \x1b[31m",
        number=2,
        instruction="COPY a /a",
        saves_bytes=5,
        saves_layers=1,
    ),
    Advice(rule="floating-base", text="pin it", asks=True, dockerfile="FROM x@sha256:1\n"),
)


@pytest.fixture
def advised(ledger, clock):
    """A run that advised on an image, and a later one that looked at nothing."""
    return run_twice(ledger, clock)


@pytest.fixture
def quieted(ledger, clock):
    """A run that advised on an image, and a later one that had nothing to advise."""
    return run_twice(ledger, clock, evidence={"digest": DIGEST, "advice": []})


def run_twice(ledger, clock, **more):
    inventory = Inventory.parse({"registries": [{"uid": "r", "name": "images.example.org:5000", "url": "https://r"}]})
    target = inventory.tag("images.example.org:5000", "shop/web", "latest")
    runs = []
    for number in range(2):
        event = ImagePushed(
            key=f"k{number}", at=clock.tick(60), registry="r", repository="shop/web", digest=DIGEST, tag="latest"
        )
        run = ledger.runs.create(
            "advise_image_layers", target.uid, target.ref, event, clock(), clock.tick(60), clock() - clock()
        ).run
        if number == 0:
            action = PublishAdvice(
                object=NAME,
                precondition="p",
                digest=DIGEST,
                text="two\nlines",
                advice=ADVICE,
                dockerfile="FROM scratch\n",
            )
            ledger.journal.write_plan(run, 1, Plan(((action,),)), clock())
        changes = {"plan_number": 1} if number == 0 else more
        runs.append(ledger.runs.end(run, Outcome.SKIPPED, clock(), **changes))
    return runs


@pytest.mark.parametrize("name", [NAME, NAME.removesuffix(":latest")])
def test_the_newest_advice_is_told(paydown, advised, name):
    answer = paydown("advise", name)
    assert answer.code == 0
    assert answer.out.splitlines() == [
        "two",
        "lines",
        "",
        "Proposed Dockerfile:",
        "    FROM scratch",
        "",
        "If the answer allows it (floating-base 0):",
        "    FROM x@sha256:1",
    ]


def test_as_data(paydown, advised):
    data = paydown("advise", NAME, "--json").data
    assert (data["run"], data["digest"], data["dockerfile"]) == (advised[0].id, DIGEST, "FROM scratch\n")
    assert [one["rule"] for one in data["advice"]] == ["volatile-before-stable", "floating-base"]


def test_a_newer_run_that_had_none_is_told_of(paydown, quieted):
    answer = paydown("advise", NAME)
    one, two = quieted
    assert answer.out.splitlines()[:3] == [
        f"Since then run {two.id} had nothing to advise. This is what run {one.id} said:",
        "",
        "two",
    ]
    assert paydown("advise", NAME, "--json").data["nothing_since"] == two.id


def test_as_sarif(paydown, advised):
    answer = paydown("advise", NAME, "--sarif")
    assert "\x1b" not in answer.out
    [run] = answer.data["runs"]
    assert answer.data["version"] == "2.1.0"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["volatile-before-stable", "floating-base"]
    assert run["artifacts"][0] == {"location": {"uri": f"oci://{NAME}"}, "hashes": {"sha-256": "1" * 64}}
    first, second = run["results"]
    assert (first["kind"], first["level"], first["ruleIndex"]) == ("fail", "note", 0)
    assert first["locations"][0]["logicalLocations"][0]["name"] == "COPY a /a"
    assert first["properties"] == {"savesBytes": 5, "savesLayers": 1}
    assert (second["kind"], second["level"], second["ruleIndex"]) == ("review", "none", 1)
    assert "logicalLocations" not in second["locations"][0]


def test_lines_of_a_dockerfile_as_sarif():
    advice = (ADVICE[0].model_copy(update={"lines": (4, 6)}), ADVICE[1])
    action = PublishAdvice(
        object=NAME,
        precondition="p",
        digest=DIGEST,
        text="t",
        advice=advice,
        source="https://git.example.org/shop/web.git",
        path="docker/my file",
        revision="ab" * 20,
    )
    [run] = sarif(action)["runs"]
    assert run["versionControlProvenance"] == [
        {"repositoryUri": "https://git.example.org/shop/web.git", "revisionId": "ab" * 20}
    ]
    first, second = (one["locations"][0]["physicalLocation"] for one in run["results"])
    assert first == {
        "artifactLocation": {"uri": "docker/my%20file"},
        "region": {"startLine": 4, "endLine": 6},
    }
    assert second == {"artifactLocation": {"uri": f"oci://{NAME}", "index": 0}}


def test_sarif_has_what_the_schema_requires():
    """Of sarif-schema-2.1.0.json: the required properties, and the enumerations and bounds of those that are given."""
    action = PublishAdvice(
        object=NAME,
        precondition="p",
        digest=DIGEST,
        text="t",
        advice=(ADVICE[0].model_copy(update={"lines": (4, 6)}), ADVICE[1], ADVICE[0]),
        source="https://git.example.org/shop/web.git",
        path="Dockerfile",
    )
    log = sarif(action)
    assert log["version"] == "2.1.0"
    [run] = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    assert all(one["repositoryUri"] for one in run["versionControlProvenance"])
    for result in run["results"]:
        assert result["message"]["text"]
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["kind"], result["level"]) in {("fail", "note"), ("review", "none")}
        [place] = [location["physicalLocation"] for location in result["locations"]]
        assert place["artifactLocation"]["uri"]
        assert place.get("region", {"startLine": 1})["startLine"] >= 1
        assert place["artifactLocation"].get("index", 0) < len(run["artifacts"])


def test_what_is_not_there(paydown, advised):
    assert paydown("advise", "images.example.org:5000/shop/web:other").code == 4
    assert paydown("advise", "web").code == 2
