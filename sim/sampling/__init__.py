"""Samples of data models, and images of two digits."""
