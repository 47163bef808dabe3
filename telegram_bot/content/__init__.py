"""What a message shows: text with entities, or a file."""
