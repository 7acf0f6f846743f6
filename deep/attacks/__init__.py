"""Balls, attacks, and the evaluation of which every error is derived."""
