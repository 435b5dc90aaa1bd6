"""Promote images from one registry or repository to the next, by digest."""
