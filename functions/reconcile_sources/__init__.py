"""What a lost webhook would have told is found by asking its sender."""
