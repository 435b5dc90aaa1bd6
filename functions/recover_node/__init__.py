"""Recover a node that is not ready: cordon, drain, wait, verify, uncordon."""
