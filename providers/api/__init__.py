"""Rows of the database over HTTP, read-only: a page at a time, or as CSV. requests_app builds on it."""
