"""Linear training against the worst attack, to a certified gap, for one problem or many at once."""
