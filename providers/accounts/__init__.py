"""One file for each provider that tells what it charges and what is left, named after its slug; no ORM, no settings."""
