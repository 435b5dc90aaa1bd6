"""Advice on the layers of pushed images, from the registry alone."""
