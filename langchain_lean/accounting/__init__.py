"""What a call used, what it cost, what was saved."""
