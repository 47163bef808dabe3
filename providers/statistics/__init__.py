"""Sums over attempts, and the API that shows them."""
