"""Functions that change accounts, credits and requests, each in a transaction that is visible at its top."""
