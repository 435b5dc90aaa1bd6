"""Smaller images of compiled programs: proposed, tried beside the original, and offered under a tag of their own."""
