"""What learned policies and their thresholds are made of, one subject a module."""
