"""Invented history of any size, in an empty database: for measurements, and for trying the admin at its later size."""
