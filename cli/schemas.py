"""`paydown schema`: the JSON schemas (draft 2020-12) of what goes in and out, made from the models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cli.exits import FINE
from cli.exported import ExportedRun
from cli.session import Session
from paydown.events import EVENTS, SOURCE, RemediationChanged
from paydown.inventory import Inventory
from paydown.ledger import Outcome, Status
from paydown.policy import Policy

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DOCUMENTS: dict[str, type[BaseModel]] = {"policy": Policy, "inventory": Inventory}


def run(session: Session) -> int:
    """Print a schema, for editors and other checkers."""
    session.out.document(schema_of(session.args.kind))
    return FINE


def schema_of(kind: str) -> dict[str, Any]:
    """The schema of a policy, an inventory, our events on the bus, or a line of an export."""
    if kind == "events":
        return {"$schema": DIALECT, **_envelopes()}
    if kind == "export":
        return {"$schema": DIALECT, **ExportedRun.model_json_schema(mode="serialization")}
    return {"$schema": DIALECT, **_closed(DOCUMENTS[kind].model_json_schema())}


def _envelopes() -> dict[str, Any]:
    """What EventBridge delivers of ours: which detail belongs to which detail-type. Unknown members must be ignored."""
    models: list[type[BaseModel]] = [*EVENTS.values(), RemediationChanged]
    _, described = models_json_schema([(model, "validation") for model in models])
    kinds = [_envelope(name, {"$ref": f"#/$defs/{model.__name__}"}) for name, model in EVENTS.items()]
    for status in (*Status, *Outcome):
        detail = {"$ref": f"#/$defs/{RemediationChanged.__name__}", "properties": {"status": {"const": status.value}}}
        kinds.append(_envelope(RemediationChanged.detail_type_for(status.value), detail))
    return {
        "title": "Events of Paydown",
        "description": "EventBridge envelopes whose source is `paydown`. Unknown members are to be ignored.",
        "oneOf": kinds,
        "$defs": described["$defs"],
    }


def _envelope(detail_type: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": detail_type,
        "type": "object",
        "properties": {"source": {"const": SOURCE}, "detail-type": {"const": detail_type}, "detail": detail},
        "required": ["source", "detail-type", "detail"],
    }


def _closed(schema: Any) -> Any:
    """The schema in which a map whose names must have a form admits no other names; pydantic leaves that open."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    return {**closed, "additionalProperties": False} if "patternProperties" in closed else closed
