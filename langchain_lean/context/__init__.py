"""What goes into a prompt and comes out of a model."""
