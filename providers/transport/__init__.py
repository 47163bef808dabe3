"""How bytes travel to a provider and back. Knows no provider and no database."""
