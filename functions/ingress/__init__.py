"""The front door: webhooks come in, typed events go out to the bus."""
