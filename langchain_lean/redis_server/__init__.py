"""What all rooms that keep something in Redis share: clients, scripts, names."""
