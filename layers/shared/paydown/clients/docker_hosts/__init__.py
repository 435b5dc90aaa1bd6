"""The ways to a Docker host. `paydown.clients.docker` opens one; the rest is for this room only."""
