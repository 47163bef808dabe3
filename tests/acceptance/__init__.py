"""What needs a program from outside of the requirements, or minutes: make acceptance. A missing one is a failure."""
