"""Refresh base images of one's own."""
