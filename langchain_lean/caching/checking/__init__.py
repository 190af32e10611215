"""What a question says that its embedding does not tell: read without a model."""
