"""Updates: how they are received, stored and queued, and which handler they reach."""
