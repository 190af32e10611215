"""How the answers of a model are read while they come, and where they end."""
