"""A source that has gone silent is noticed."""
