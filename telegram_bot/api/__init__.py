"""The client of the Bot API and its errors."""
