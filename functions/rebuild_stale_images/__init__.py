"""Rebuild the images that stand on an old base, or hold a layer that is too old."""
