"""Clean a registry of what nothing refers to."""
