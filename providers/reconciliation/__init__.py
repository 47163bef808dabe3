"""What the providers say that they charged and that is left, beside what our attempts have cost."""
