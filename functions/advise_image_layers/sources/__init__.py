"""The Dockerfile at hand: where it is found, which of its lines made which layer, and what git and hadolint tell."""
