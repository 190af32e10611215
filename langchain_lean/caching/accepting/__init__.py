"""What the learned rule is made of."""
