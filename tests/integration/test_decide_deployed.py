"""Deciding, deployed: API Gateway asks IAM who calls, the roles of the functions are enforced, a node is drained."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cli.main import main
from local.app.people import operator_credentials
from local.deploy import Stack
from local.emulator import REGION
from local.webhooks import proof
from paydown.ledger import Ledger, Outcome, Run, Status, Table, run_id
from paydown.links import plan_link
from tests.integration.github_server import Github
from tests.real.node_recovery import SEED
from tests.real.standin_cluster import TOKEN, StandIn, standin_cluster
from tests.stacks import running_stack, wait_for

pytestmark = pytest.mark.slow

ACCOUNT = "000000000000"
PEOPLE = [
    {"name": "ann", "iam": [f"arn:aws:iam::{ACCOUNT}:user/ann"]},
    {"name": "operator", "iam": [f"arn:aws:iam::{ACCOUNT}:user/operator"]},
    {"name": "bob", "iam": [f"arn:aws:iam::{ACCOUNT}:role/ops"], "accounts": {"acme/shop": "bobcat"}},
]
INVOKE = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Only what a held drain needs, with its roles enforced. AWS sees to the wake-ups that this test does not want."""
    folder = tmp_path_factory.mktemp("decide")
    with running_stack(folder, mode="Off", authorise=True, parameters={"RecoverNodeMode": "Enforce"}) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    nodes = [{"name": "control-plane-1", "control_plane": True}, *({"name": f"worker-{n}"} for n in range(1, 6))]
    seed = {**SEED, "nodes": nodes, "deployments": [{"name": "web", "replicas": 5, "grace": 1}]}
    with standin_cluster(tmp_path_factory.mktemp("cluster"), seed) as running:
        yield running


@pytest.fixture(scope="module")
def github() -> Iterator[Github]:
    made = Github()
    made.open(7)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ledger(stack: Stack, cluster: StandIn, github: Github) -> Ledger:
    made = Ledger(Table(stack.outputs["LedgerTable"], stack.emulator.client("dynamodb")))
    for identity in ("reader", "operator"):
        stack.put_secret(f"clusters/demo/{identity}", {"server": cluster.url, "token": TOKEN})
    stack.put_secret("trackers/shop", {"token": "t"})
    settings = {"settle_seconds": 0, "wait_ready_seconds": 0, "evictions_per_second": 50}
    toil = {
        "mode": "approve",
        "blast_radius": {"count": 5, "percent": 100},
        "cool_down_seconds": 0,
        "settings": settings,
    }
    policy = {"people": PEOPLE, "approvers": ["ann", "bob", "operator"], "toils": {"recover_node": toil}}
    made.policy.publish(policy, "test", datetime.now(UTC))
    demo = {"uid": "demo", "name": "demo", "nodes": ["worker-*"]}
    secrets = {f"{one}_secret": f"{stack.name}/clusters/demo/{one}" for one in ("reader", "operator")}
    shop = {"uid": "shop", "name": "acme/shop", "system": "github", "url": github.url}
    inventory = {"clusters": [demo | secrets], "trackers": [shop | {"secret": f"{stack.name}/trackers/shop"}]}
    made.inventory.publish(inventory, "test", datetime.now(UTC))
    return made


def user(stack: Stack, name: str, *statements: dict[str, Any]) -> Credentials:
    iam = stack.emulator.client("iam")
    iam.create_user(UserName=name)
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=name, PolicyName="decide", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def session_of(stack: Stack, role: str, name: str) -> Credentials:
    """Somebody assumes a role, and chooses the name of the session."""
    iam, sts = stack.emulator.client("iam"), stack.emulator.client("sts")
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    iam.put_role_policy(RoleName=role, PolicyName="decide", PolicyDocument=json.dumps({"Statement": [INVOKE]}))
    found = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName=name)["Credentials"]
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


@pytest.fixture(scope="module")
def ann(stack: Stack) -> Credentials:
    return user(stack, "ann", INVOKE)


def held(stack: Stack, cluster: StandIn, ledger: Ledger, node: str, **more: Any) -> Run:
    """A node dies, and its drain waits for a person."""
    cluster.kubelet(node, running=False)
    detail = {"key": f"alert-{node}", "at": datetime.now(UTC).isoformat(), "cluster": "demo", "node": node, **more}
    stack.put_event("NodeNotReady", detail)
    id = run_id(detail["key"], f"demo/node/{node}", "recover_node")

    def look() -> Run | None:
        run = ledger.runs.get(id)
        return run if run and (run.status is Status.HELD or run.ended) else None

    run = wait_for(look, f"the drain of {node} to be held", 60)
    assert run.status is Status.HELD, run.reasons
    return run


def send(stack: Stack, run: Run, credentials: Credentials | None, **headers: str) -> tuple[int, Any]:
    body = json.dumps({"decision": "approve", "fingerprint": run.fingerprint}).encode()
    request = AWSRequest("POST", f"{stack.api_url}/runs/{run.id}/decisions", headers, body)
    if credentials is not None:
        SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    return fetch(request.url, body, dict(request.headers))


def fetch(url: str, body: bytes | None = None, headers: Any = None, method: str | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers or {}, method=method)  # noqa: S310 -- loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 -- loopback
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ended(ledger: Ledger, run: Run, seconds: float = 60) -> Run:
    def look() -> Run | None:
        found = ledger.runs.get(run.id)
        return found if found and found.ended else None

    return wait_for(look, "the run to end", seconds)


def test_only_whom_iam_and_the_policy_know_decides_and_of_two_at_once_one_counts(
    stack: Stack, cluster: StandIn, ledger: Ledger, ann: Credentials
) -> None:
    run = held(stack, cluster, ledger, "worker-1")
    bob = session_of(stack, "ops", "any-name")

    claims = {"X-Amz-User-Arn": f"arn:aws:iam::{ACCOUNT}:user/ann", "userArn": f"arn:aws:iam::{ACCOUNT}:user/ann"}
    assert send(stack, run, None, **claims)[0] == 403  # unsigned
    assert send(stack, run, Credentials("AKIAIOSFODNN7EXAMPLE", "x" * 40))[0] == 403  # a key that nobody has
    assert send(stack, run, Credentials(ann.access_key, "x" * 40))[0] == 403  # Ann's, without her secret
    assert send(stack, run, user(stack, "carl"))[0] == 403  # IAM lets him call nothing
    status, told = send(stack, run, user(stack, "dee", INVOKE))
    assert (status, json.loads(told)["error"]["code"]) == (403, "not_an_approver")  # the policy does not name her
    status, told = send(stack, run, session_of(stack, "guests", "ann"))  # a session that calls itself Ann
    assert (status, json.loads(told)["error"]["code"]) == (403, "not_an_approver")
    assert ledger.approvals.latest(run) is None

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda who: send(stack, run, who), (ann, bob)))
    assert sorted(status for status, _ in answers) == [200, 409]
    decision = ledger.approvals.latest(run)
    assert decision is not None
    winner = json.loads(next(told for status, told in answers if status == 200))
    assert (winner["by"], winner["authenticated"]) == (decision.by, decision.proof)
    assert decision.proof in (
        f"iam:arn:aws:iam::{ACCOUNT}:user/ann",
        f"iam:arn:aws:sts::{ACCOUNT}:assumed-role/ops/any-name",
    )
    done = ended(ledger, run)
    assert done.status is Outcome.VERIFIED, done.reasons
    assert not [pod for pod in cluster.ready_pods("web") if pod["spec"]["nodeName"] == "worker-1"]


def test_a_link_shows_the_plan_and_the_command_approves_it(
    stack: Stack,
    cluster: StandIn,
    ledger: Ledger,
    ann: Credentials,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = held(stack, cluster, ledger, "worker-2")
    value = stack.emulator.client("secretsmanager").get_secret_value(SecretId=f"{stack.name}/links")["SecretString"]
    expires = datetime.now(UTC) + timedelta(minutes=5)
    link = plan_link(stack.api_url, run.id, run.plan_number, expires, json.loads(value)["current"])
    status, page = fetch(link)
    assert status == 200
    assert run.fingerprint in page
    assert "evict" in page
    assert fetch(link, method="HEAD") == (200, "")
    assert fetch(link.replace("plan=1", "plan=2"))[0] == 403
    assert ledger.runs.get(run.id) == run

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ann.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ann.secret_key)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.emulator.url)
    monkeypatch.setenv("PAYDOWN_LEDGER_TABLE", stack.outputs["LedgerTable"])
    read = {"Effect": "Allow", "Action": ["dynamodb:*", "cloudformation:DescribeStacks"], "Resource": "*"}
    document = json.dumps({"Statement": [INVOKE, read]})
    stack.emulator.client("iam").put_user_policy(UserName="ann", PolicyName="decide", PolicyDocument=document)
    assert main(["held", "--json"]) == 0
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["held"]] == [run.id]
    code = main(["approve", run.id, "--fingerprint", run.fingerprint[:12], "--stack", stack.name, "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed
    assert json.loads(printed.out)["authenticated"] == f"iam:arn:aws:iam::{ACCOUNT}:user/ann"
    assert ended(ledger, run).status is Outcome.VERIFIED


def test_the_operator_of_the_local_application_rejects(
    stack: Stack,
    cluster: StandIn,
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = held(stack, cluster, ledger, "worker-4")
    operator_credentials(stack.emulator)
    operator = operator_credentials(stack.emulator)  # as after a stop, when the user is there already
    (tmp_path / ".paydown").mkdir()
    told = {"endpoint_url": stack.emulator.url, "stack": stack.name, "region": REGION, "operator": operator}
    (tmp_path / ".paydown/local.json").write_text(json.dumps(told))
    monkeypatch.chdir(tmp_path)
    code = main(["reject", run.id, "--fingerprint", run.fingerprint, "--why", "not now", "--local", "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed
    assert json.loads(printed.out)["authenticated"] == f"iam:arn:aws:iam::{ACCOUNT}:user/operator"
    assert ended(ledger, run).status is Outcome.REJECTED


def test_a_comment_rejects(stack: Stack, cluster: StandIn, ledger: Ledger, github: Github) -> None:
    run = held(stack, cluster, ledger, "worker-3", ticket={"tracker": "acme/shop", "id": "7"})
    for author in ("stranger", "bobcat"):
        comment = github.add(7, f"/reject {run.fingerprint[:12]} it is being repaired", author)
        payload = {
            "action": "created",
            "issue": {"number": 7},
            "comment": {"id": comment["id"], "body": comment["body"], "created_at": comment["created_at"]},
            "repository": {"full_name": "acme/shop"},
            "sender": {"login": "bobcat"},
        }
        body = json.dumps(payload).encode()
        headers = {"X-GitHub-Event": "issue_comment", "X-GitHub-Delivery": f"d-{author}"}
        signed = proof("github", body, stack.webhook_secret("github"))
        assert fetch(stack.webhook_url("github"), body, headers | signed)[0] == 202
        count = 2 if author == "stranger" else 4
        wait_for(lambda: len(github.comments[7]) >= count, "the comment to be answered", 60)  # noqa: B023 -- at once
    answers = [one["body"] for one in github.comments[7] if one["user"]["login"] == github.login]
    assert "(not_an_approver)" in answers[0]
    assert "bob rejected plan" in answers[1]
    done = ended(ledger, run)
    assert (done.status, done.reasons[0].text) == (Outcome.REJECTED, "by bob: it is being repaired")
    decision = ledger.approvals.latest(run)
    assert decision is not None
    assert decision.proof == "ticket:acme/shop/bobcat"
    time.sleep(1)
    assert len(github.comments[7]) == 4
