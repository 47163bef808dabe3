"""Contents of messages: text with entities, or a file. Nothing is sent here."""
