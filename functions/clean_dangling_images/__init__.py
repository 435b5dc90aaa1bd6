"""Clean dangling images from Docker hosts."""
