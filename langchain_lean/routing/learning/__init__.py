"""What `LearnedPolicy` and `calibrate` are made of; nothing here asks anybody."""
