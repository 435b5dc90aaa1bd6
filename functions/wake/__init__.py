"""Every minute: nudge the queue of each run that is due."""
