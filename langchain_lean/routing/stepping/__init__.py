"""Parts of the step cap."""
