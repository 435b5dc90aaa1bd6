"""Tests of functions/rebuild_stale_images."""
