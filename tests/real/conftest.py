"""The real servers that several test files share."""

from tests.real.docker_engine import (
    client_secret,
    docker_engine,
    docker_host,
    engine,
    output_store,
    over_ssm,
    plain_registry,
    sleeping_program,
    ssm_agent,
)
from tests.real.image_advice import advise, images
from tests.real.roundup_server import ingress, tracker

__all__ = [
    "advise",
    "client_secret",
    "docker_engine",
    "docker_host",
    "engine",
    "images",
    "ingress",
    "output_store",
    "over_ssm",
    "plain_registry",
    "sleeping_program",
    "ssm_agent",
    "tracker",
]
