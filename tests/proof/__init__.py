"""The proof of the promise: nothing is lost, charged twice or shown twice, whatever dies in the middle."""
