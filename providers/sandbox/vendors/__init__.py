"""The vendors that the sandbox stands in for, a file each."""
