"""`paydown policy|inventory publish|show`, and `paydown schema`."""

import io
import json
import re
from pathlib import Path

import jsonschema
import pytest

from cli import reading
from cli.schemas import schema_of
from cli.toils import NotInstalledError, toil_type
from paydown.errors import InvalidDocument
from paydown.inventory import Inventory
from paydown.policy import Policy
from tests.unit.toil.lamps import POLICY, ROOMS

PROJECT = Path(__file__).resolve().parents[3]
POLICIES = {"toils": {"clean_dangling_images": {"mode": "observe", "settings": {"min_age": 60}}}}


def test_publish_and_show(paydown, ledger, written):
    answer = paydown("policy", "publish", written(POLICIES), "--by", "ann")
    assert (answer.code, answer.out, answer.err) == (0, "policy version 1 is in force\n", "")
    shown = paydown("policy", "show")
    assert json.loads(shown.out) == POLICIES
    assert shown.err == "policy version 1, published by ann at 2026-11-22T03:00:00+00:00\n"
    assert ledger.policy.current().document.toils["clean_dangling_images"].settings == {"min_age": 60}


def test_what_is_shown_can_be_published_again(paydown, plant, written):
    again = paydown("inventory", "publish", written(paydown("inventory", "show").out), "--json")
    assert (again.data["version"], again.data["published"]) == (1, False)
    assert "as it was: nothing changed" in paydown("inventory", "publish", written(ROOMS)).out


def test_a_policy_that_enforces_and_tells_nobody_is_a_warning(paydown, house, stacks, written):
    acts = {"toils": {"switch_off_lamps": {"mode": "enforce"}}}
    told = {**acts, "notifications": {"webhooks": ["house/notify/chat"]}}
    publish = ("policy", "publish", "--stack", house)
    well = {"ReportOutcomeMode": "Enforce", "NotificationTopicArn": "arn:aws:sns:eu-central-1:123456789012:ops"}
    stacks[house]["Parameters"] = [{"ParameterKey": name, "ParameterValue": value} for name, value in well.items()]
    assert "tells nobody" not in paydown(*publish, written(acts)).err
    stacks[house]["Parameters"] = [{"ParameterKey": "ReportOutcomeMode", "ParameterValue": "Off"}]
    answer = paydown(*publish, written(acts))
    assert answer.code == 0
    assert "it enforces, but tells nobody: ReportOutcomeMode is Off" in answer.err
    assert "notifications.tracker and notifications.webhooks are empty" in answer.err
    only = paydown(*publish, written(told), "--json").data["warnings"]
    assert [one for one in only if "tells nobody" in one] == [one for one in only if "ReportOutcomeMode" in one] != []


def test_without_the_stack_the_policy_alone_says_whether_anybody_is_told(paydown, written):
    path = written({"toils": {"lamps": {"mode": "approve"}}})
    _, warning = paydown("policy", "publish", path, "--dry-run", "--json").data["warnings"]
    assert "webhooks are empty, unless the stack has a topic: what is held" in warning


def test_show_of_an_earlier_version(paydown, ledger, written):
    paydown("policy", "publish", written(POLICIES), "--by", "ann")
    paydown("policy", "publish", written({"toils": {}}), "--by", "bob")
    first = paydown("policy", "show", "--version", "1", "--json").data
    assert (first["version"], first["by"], first["document"]) == (1, "ann", POLICIES)
    assert paydown("policy", "show", "--json").data["document"] == {"toils": {}}


def test_nothing_published_yet(paydown, ledger):
    answer = paydown("inventory", "show")
    assert (answer.code, "paydown inventory publish FILE" in answer.err) == (4, True)


def test_who_published_is_the_caller(paydown, ledger, written):
    assert paydown("policy", "publish", written(POLICIES), "--json").data["by"].startswith("arn:aws:sts::")


@pytest.mark.parametrize(("expected", "code"), [("0", 5), ("1", 0), ("2", 5)])
def test_expect(expected, code, paydown, ledger, written):
    paydown("policy", "publish", written({"toils": {}}), "--expect", "0")
    answer = paydown("policy", "publish", written(POLICIES), "--expect", expected)
    assert answer.code == code
    assert ledger.policy.current().number == (2 if code == 0 else 1)


def test_a_refused_document_names_every_fault_and_changes_nothing(paydown, plant, written):
    bad = {"retention_days": 0, "toils": {"switch_off_lamps": {"mode": "fast", "colour": "red"}}}
    answer = paydown("policy", "publish", written(bad))
    assert answer.code == 3
    assert answer.err.splitlines() == [
        "paydown: policy: refused",
        "  retention_days: Input should be greater than or equal to 1",
        "  toils.switch_off_lamps.mode: Input should be 'observe', 'approve' or 'enforce'",
        "  toils.switch_off_lamps.colour: Extra inputs are not permitted",
    ]
    assert plant.ledger.policy.current().number == 1
    faults = paydown("policy", "publish", written(bad), "--json").data["error"]["faults"]
    assert [one["path"] for one in faults] == [
        "retention_days",
        "toils.switch_off_lamps.mode",
        "toils.switch_off_lamps.colour",
    ]


def test_a_refused_inventory(paydown, ledger, written):
    hosts = [ROOMS["hosts"][0], ROOMS["hosts"][0]]
    answer = paydown("inventory", "publish", written({"hosts": hosts}))
    assert (answer.code, "  (document): Value error, room-1 stands there twice" in answer.err) == (3, True)


def test_settings_are_checked_by_the_toil_types_that_are_installed(command, written):
    toils = {
        "clean_dangling_images": {"settings": {"min_age": -1, "min_size": 5}},
        "recover_node": {"settings": {"parallel": 99}},
    }
    answer = command("policy", "publish", written({"toils": toils}))
    assert answer.code == 3
    for path in (
        "toils.clean_dangling_images.settings.min_age: ",
        "toils.clean_dangling_images.settings.min_size: ",
        "toils.recover_node.settings.parallel: ",
    ):
        assert f"\n  {path}" in answer.err


def test_what_cannot_be_checked_is_a_warning(paydown, ledger, written):
    answer = paydown("policy", "publish", written({**POLICY, "notifications": {"tracker": "helpdesk"}}), "--json")
    assert answer.data["published"] is True
    text = "toils.switch_off_lamps.settings: not checked: no toil type switch_off_lamps is installed here"
    assert answer.data["warnings"] == [text]
    assert answer.err == f"warning: {text}\n"


@pytest.mark.parametrize(
    ("rule", "warning"),
    [
        ({"title": "disk full on (?P<target>.*)", "target": "host/{target}"}, None),
        ({"title": "x", "text": "on (?P<target>.*)", "target": "host/{target}"}, None),
        ({"title": "build-1 is full", "target": "host/build-1"}, None),
        ({"title": "disk full", "target": "host/{target}"}, "needs a group (?P<target>…)"),
        ({"title": "disk full on (?P<host>.*)", "target": "host/{target}"}, "needs a group (?P<target>…)"),
        ({"target": "host/build-1"}, "matches every ticket"),
        (
            {"title": "x", "target": "host/build-1", "toil": "recover_node"},
            "is installed here, but the policy does not name",
        ),
        (
            {"title": "x", "target": "host/build-1", "toil": "no_such"},
            "is not installed here, and the policy does not name",
        ),
    ],
)
def test_ticket_rules_that_can_never_do_what_they_say(rule, warning, command, written):
    rules = [{"name": "one", "toil": "clean_dangling_images", **rule}]
    answer = command("policy", "publish", "--dry-run", written({**POLICIES, "tickets": {"rules": rules}}), "--json")
    warnings = answer.data["warnings"]
    assert (len(warnings), answer.code) == (0 if warning is None else 1, 0)
    if warning:
        assert warnings[0].startswith("tickets.rules.0 (one): ")
        assert warning in warnings[0]


def test_a_dry_run_publishes_nothing_and_needs_no_ledger(command, monkeypatch, written):
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", "elsewhere")
    answer = command("policy", "publish", "--dry-run", written(POLICIES))
    assert (answer.code, answer.out) == (0, "the policy is valid; nothing was published\n")
    assert command("policy", "publish", "--dry-run", written({"toils": 1})).code == 3


YAML = """
schema_version: 1
hosts:
  - &first
    uid: room-1
    name: room-1
    reach: {via: unix, path: /run/room}
    last_seen: 2026-11-22T03:00:00Z
  - <<: *first
    uid: room-2
    name: room-2
"""


@pytest.mark.parametrize("name", ["inventory.yaml", "inventory.YML", "inventory"])
def test_yaml(name, paydown, ledger, written):
    assert paydown("inventory", "publish", written(YAML, name)).code == 0
    hosts = ledger.inventory.current().document.hosts
    assert [host.uid for host in hosts] == ["room-1", "room-2"]
    assert hosts[0].last_seen.isoformat() == "2026-11-22T03:00:00+00:00"
    assert paydown("inventory", "show", "--json").data["document"]["hosts"][0]["last_seen"] == "2026-11-22T03:00:00Z"


def test_yaml_without_pyyaml_says_what_to_install(command, monkeypatch, written):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    answer = command("inventory", "publish", written(YAML, "inventory.yaml"))
    assert (answer.code, "pip install pyyaml" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "name", "fault"),
    [
        ("", "p.json", "line 1, column 1: Expecting value"),
        ("", "p.yaml", "(document): Input should be a valid dictionary or instance of Policy"),
        ("[]", "p", "(document): Input should be a valid dictionary or instance of Policy"),
        ('{"toils": {},}', "p.json", "line 1, column "),
        ('{"toils": {}, "toils": {}}', "p.json", "toils: stands twice in one object"),
        ('{"retention_days": NaN}', "p.json", "(document): NaN is no number of JSON"),
        ("[" * 200_000, "p.json", "(document): it is nested too deeply"),
        ("toils: {}\ntoils: {}\n", "p.yaml", "line 1: toils stands twice in one map"),
        ("toils:\n\t- x\n", "p.yaml", "line 2, column 1: found character '\\t' that cannot start any token"),
        (
            "toils: !!python/object/apply:os.system [id]\n",
            "p.yaml",
            "line 1, column 8: could not determine a constructor",
        ),
        ("retention_days: .nan\n", "p.yaml", "(document): it holds what JSON cannot"),
        ("toils: !!set {a}\n", "p.yaml", "(document): it holds what JSON cannot"),
        ("a: [" * 20_000, "p.yaml", ""),
        ("\x00", "p.yaml", "(document): it is no YAML"),
    ],
)
def test_what_is_no_document_at_all(text, name, fault, command, written):
    answer = command("policy", "publish", written(text, name))
    assert (answer.code, "Traceback" in answer.err) == (3, False)
    assert f"\n  {fault}" in answer.err


def test_bytes_that_are_no_text(command, tmp_path):
    path = tmp_path / "p.json"
    path.write_bytes(b'{"toils": "\xff"}')
    answer = command("policy", "publish", str(path))
    assert (answer.code, "no UTF-8 text: byte 11" in answer.err) == (3, True)


def test_a_huge_file_is_refused_unread(command, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 2**20)
    path = tmp_path / "p.json"
    path.write_bytes(b" " * (2**20 + 1))
    assert "it is over 1 MiB" in command("policy", "publish", str(path)).err


def test_a_document_from_stdin(paydown, ledger, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(POLICIES).encode())))
    assert paydown("policy", "publish", "-").code == 0
    assert "clean_dangling_images" in ledger.policy.current().document.toils


@pytest.mark.parametrize("kind", ["policy", "inventory"])
def test_the_published_schemas_are_current(kind, command):
    published = json.loads((PROJECT / f"docs/schemas/{kind}.json").read_text())
    assert published == schema_of(kind) == json.loads(command("schema", kind).out), (
        f"paydown schema {kind} > docs/schemas/{kind}.json"
    )
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize(("kind", "model"), [("policy", Policy), ("inventory", Inventory)])
def test_the_examples_are_valid_by_model_and_by_schema(kind, model, command):
    path = PROJECT / f"examples/{kind}.json"
    document = json.loads(path.read_text())
    jsonschema.validate(document, schema_of(kind))
    assert model.parse(document).model_dump()
    answer = command(kind, "publish", "--dry-run", str(path))
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("kind", ["policy", "inventory"])
def test_the_commented_examples_of_the_documentation_are_valid(kind, command, written):
    blocks = re.findall(r"```yaml\n(.*?)```", (PROJECT / "docs/cli.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if ("hosts:" in block) is (kind == "inventory")]
    answer = command(kind, "publish", "--dry-run", written(block, f"{kind}.yaml"))
    assert (answer.code, answer.err) == (0, "")


def test_a_policy_that_this_release_cannot_read_can_be_replaced(paydown, plant, written, monkeypatch):
    parse = Policy.parse

    def newer(document):
        if "switch_off_lamps" in document["toils"]:
            raise InvalidDocument("policy", [("toils", "is unknown")])
        return parse(document)

    monkeypatch.setattr(Policy, "parse", newer)
    assert paydown("policy", "show").code == 3
    answer = paydown("policy", "publish", written(POLICIES), "--json")
    assert (answer.code, answer.data["version"], answer.data["published"]) == (0, 2, True)
    assert paydown("policy", "show").code == 0


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({"toils": {"recover_node": {"mode": "enforce"}}}, True),
        ({"toils": {"Recover-Node": {"mode": "enforce"}}}, False),
        ({"toils": {"recover_node": {"mode": "fast"}}}, False),
        ({"colour": "red"}, False),
    ],
)
def test_the_schema_of_the_policy_agrees_with_the_model(document, valid):
    assert jsonschema.Draft202012Validator(schema_of("policy")).is_valid(document) is valid


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_toil", "no toil type no_such_toil is installed here"),
        ("ingress", "ingress is a function, but no toil type"),
        ("../etc", "no name of a toil type"),
    ],
)
def test_what_is_no_toil_type(name, why):
    with pytest.raises(NotInstalledError, match=why):
        toil_type(name)


def test_a_toil_type_that_cannot_be_loaded_is_a_warning(monkeypatch):
    def broken(name):
        raise ImportError("no module kubernetes", name="kubernetes")

    monkeypatch.setattr("cli.toils.importlib.import_module", broken)
    with pytest.raises(NotInstalledError, match="recover_node cannot be loaded here: no module kubernetes"):
        toil_type("recover_node")


def test_a_source_that_nobody_is_called_is_warned_of(paydown, written):
    policy = {"sources": {"registry": {"expect_every_seconds": 600}, "jenkins": {"expect_every_seconds": 600}}}
    answer = paydown("policy", "publish", written(policy), "--dry-run", "--json")
    (warning,) = answer.data["warnings"]
    assert (answer.code, warning.partition(":")[0]) == (0, "sources.jenkins")
