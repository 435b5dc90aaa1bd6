"""Webhooks as API Gateway hands them to ingress, with the proof that each sender gives.

The requests under `events/ingress/` carry no proof, since a secret does not belong in a file. This adds it::

    python -m local.webhooks events/ingress/github_issue_opened.json --secret SECRET > request.json
    sam local invoke Ingress -e request.json
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BEARERS = ("alertmanager", "harbor", "registry")
"""The senders that send the secret itself; the others sign the body."""


def proof(sender: str, body: bytes, secret: str) -> dict[str, str]:
    """The header by which `sender` proves that it knows the secret."""
    if sender in BEARERS:
        return {"Authorization": f"Bearer {secret}"}
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def gateway_event(
    sender: str,
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str] | None = None,
    method: str = "POST",
) -> dict[str, Any]:
    """The event of API Gateway's REST proxy for a request; a body that is not UTF-8 travels in base64."""
    try:
        text, encoded = body.decode(), False
    except UnicodeDecodeError:
        text, encoded = base64.b64encode(body).decode(), True
    return {
        "resource": "/webhooks/{sender}",
        "path": f"/webhooks/{sender}",
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": dict(query) if query else None,
        "pathParameters": {"sender": sender},
        "body": text,
        "isBase64Encoded": encoded,
    }


def proven(event: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """A request of `events/ingress/` with the proof of its sender."""
    body = base64.b64decode(event["body"]) if event.get("isBase64Encoded") else event["body"].encode()
    added = proof(event["pathParameters"]["sender"], body, secret)
    return {
        **event,
        "headers": {**event["headers"], **added},
        "multiValueHeaders": {**event["multiValueHeaders"], **{name: [value] for name, value in added.items()}},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the request with its proof to the standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m local.webhooks", description="Add the sender's proof to a request."
    )
    parser.add_argument("event", type=Path, help="a file of events/ingress/")
    parser.add_argument("--secret", required=True, help="the secret of the stack for this sender")
    options = parser.parse_args(arguments)
    json.dump(proven(json.loads(options.event.read_text()), options.secret), sys.stdout, indent=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
