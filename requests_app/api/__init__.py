"""Requests, AI models and accounts over HTTP, read-only."""
