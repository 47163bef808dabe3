"""Updates: how they come in, and which handler they reach."""
