"""The chat: updates in, answers out."""
