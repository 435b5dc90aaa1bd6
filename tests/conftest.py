"""The environment of all tests: no real account, whatever the machine is configured for."""

import os

import pytest

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")] + ["AWS_PROFILE"]:
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for servers begins first: at the end one process would wait for it alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    served = {"integration", "real"}
    items.sort(key=lambda item: (item.path not in slow, item.path.parent.name not in served))
