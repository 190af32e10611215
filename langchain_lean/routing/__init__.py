"""Which model answers, and how many steps it may take."""
