"""One file for each provider, and the templates that they fill in."""
