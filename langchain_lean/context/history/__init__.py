"""What a memory does with a conversation: which messages leave, and what stays."""
