"""The verbs of this app: each function changes something, in a transaction that is visible at its top."""
