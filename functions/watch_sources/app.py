"""Every five minutes: which senders have been silent for longer than the policy expects.

A sender that sends nothing looks like one that has nothing to tell. The policy says under `sources` how often each must
be heard of; the metric is how many were not, and the log says which.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from paydown.ledger import Ledger, NoDocument, open_ledger
from paydown.ledger.sources_seen import Sources, open_sources, silences
from paydown.toil.handler import utc_now

logger = Logger(service="watch_sources")
_opened: list[tuple[Ledger, Sources]] = []


def handler(_event: dict[str, Any], _context: object = None) -> dict[str, list[str]]:
    """Count them. Returns the names of those that are silent."""
    if not _opened:
        _opened.append((open_ledger(), open_sources()))
    ledger, sources = _opened[0]
    silent = []
    try:
        every = silences(ledger.policy.current(), sources, utc_now())
    except NoDocument:
        every = []
    for one in every:
        if one.silent:
            silent.append(one.source)
            logger.warning(
                "silent",
                source=one.source,
                heard=one.heard.isoformat() if one.heard else None,
                since=one.since.isoformat(),
                expect_every_seconds=one.expected.total_seconds(),
            )
    with single_metric(name="SilentSources", unit=MetricUnit.Count, value=len(silent), namespace="Paydown"):
        logger.info("watched", sources=len(every), silent=len(silent))
    return {"silent": silent}
