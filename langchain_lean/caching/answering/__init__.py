"""A cache around a model, and as nodes of a graph."""
