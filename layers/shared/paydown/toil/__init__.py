"""The contract that ties everything together: targets → plan → guard → apply → verify → book."""

from paydown.toil.contract import ACTION_SECONDS, Pace, Scene, Toil, ToilSettings
from paydown.toil.handler import handler_for

__all__ = ["ACTION_SECONDS", "Pace", "Scene", "Toil", "ToilSettings", "handler_for"]
