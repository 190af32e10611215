"""What keeps a provider's prompt cache warm: stable prompts, marks and measures."""
