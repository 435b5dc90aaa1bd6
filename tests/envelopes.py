"""Events as AWS's own services put them on the bus."""

SCHEDULED = {
    "source": "aws.events",
    "detail-type": "Scheduled Event",
    "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
    "time": "2026-11-22T02:00:00Z",
    "resources": ["arn:aws:events:eu-central-1:123456789012:rule/daily"],
    "detail": {},
}
