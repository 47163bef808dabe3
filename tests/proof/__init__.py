"""The proof of the promise: nothing is lost, charged twice or shown twice, whichever process crashes when."""
