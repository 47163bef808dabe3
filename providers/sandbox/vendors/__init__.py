"""The vendors that the sandbox stands in for: a file for each slug of the providers' registry."""
