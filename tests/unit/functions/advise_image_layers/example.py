"""The example of docs/examples: an image pushed twice to a registry in memory, and all that is said of it.

`python -m tests.unit.functions.advise_image_layers.example` writes the page anew.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

from cli.sarif import sarif
from functions.advise_image_layers import app
from functions.advise_image_layers.app import AdviseImageLayers, PublishAdvice, Settings, ticket_text
from paydown.events import ImagePushed
from paydown.inventory import Inventory
from paydown.plan import Draft
from paydown.policy import Policy
from paydown.toil import Scene
from tests.unit.functions.advise_image_layers.fake_registry import FakeRegistry
from tests.unit.functions.shrink_image.layers import layer

PAGE = Path(__file__).parents[4] / "docs/examples/advise-image-layers.md"
NOW = datetime(2026, 1, 20, tzinfo=UTC)
INVENTORY = {"registries": [{"uid": "r1", "name": "images.example.org", "url": "https://images.example.org"}]}
RESULTS = 2

_TEXT = """# An example of advice

What [`advise_image_layers`](../advise-image-layers.md) says of an image that was pushed twice, with the setting
`"deep_look": true`. The Dockerfile is not at hand. This page is what the code gives for the image of
`tests/unit/functions/advise_image_layers/example.py`, and a test compares the two.

## The comment

```
{comment}
```

## The proposed Dockerfile

```dockerfile
{dockerfile}```

## SARIF

The first of the results (`paydown advise images.example.org/shop/web:latest --sarif`):

```json
{results}
```
"""


def _push(registry: FakeRegistry, program: bytes) -> str:
    noise = random.Random(7)

    def some(size: int) -> bytes:
        return noise.randbytes(size)

    steps = [
        ("COPY rootfs / # buildkit", layer({"bin/sh": some(900_000)})),
        ('CMD ["/bin/sh"]', None),
        ("RUN /bin/sh -c apt-get update # buildkit", layer({"var/lib/apt/lists/main": some(2_400_000)})),
        ("RUN /bin/sh -c apt-get install -y libfoo # buildkit", layer({"usr/lib/libfoo.so": some(300_000)})),
        ("COPY sources.tar /tmp/sources.tar # buildkit", layer({"tmp/sources.tar": some(1_500_000)})),
        ("RUN /bin/sh -c rm /tmp/sources.tar # buildkit", layer({"tmp/.wh.sources.tar": b""})),
        ("COPY app /app # buildkit", layer({"app": program})),
        ("COPY static /srv/static # buildkit", layer({"srv/static/all": some(3_000_000)})),
        ('CMD ["/app"]', None),
    ]
    return registry.built("latest", steps, Cmd=["/app"])


def advice() -> PublishAdvice:
    """What is planned when the image's second version was pushed."""
    registry = FakeRegistry()
    before = _push(registry, b"1" * 200_000)
    digest = _push(registry, b"2" * 200_000)
    inventory = Inventory.parse(INVENTORY)
    event = ImagePushed(
        key="push", at=NOW, registry="images.example.org", repository="shop/web", digest=digest, tag="latest"
    )
    toil = AdviseImageLayers(
        Scene(
            run_id="r",
            event=event,
            inventory=inventory,
            policy=Policy(),
            settings=Settings(deep_look=True),
            observing=True,
            now=lambda: NOW,
            nudge=lambda toil, event, ref: None,
            has_run=lambda toil, event, target: False,
        )
    )
    [target] = AdviseImageLayers.targets(event, inventory)
    with (
        mock.patch.object(app, "open_registry", return_value=registry),
        mock.patch.object(toil, "_earlier", return_value=[]),
        mock.patch.object(toil, "_known", return_value=[before]),
    ):
        draft = toil.plan(target)
    if not isinstance(draft, Draft) or not isinstance(draft.stages[0][0], PublishAdvice):
        raise TypeError("the example got no advice")
    return draft.stages[0][0]


def page() -> str:
    """The page, as it is to be."""
    action = advice()
    results = sarif(action)["runs"][0]["results"][:RESULTS]
    told = json.dumps({"results": results}, indent=2)
    return _TEXT.format(comment=ticket_text(action), dockerfile=action.dockerfile, results=told)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
