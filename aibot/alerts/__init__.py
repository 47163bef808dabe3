"""Alerts: what the operator is told without looking, once when it begins and once when it is over."""
