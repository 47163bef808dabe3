"""Handlers: one small function for each kind of update; it returns, in words, what it did."""
