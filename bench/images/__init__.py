"""Images: what advice on one fetches, what a clean-up of many takes, and what a registry's analysis needs of memory."""
