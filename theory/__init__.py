"""Closed-form class errors of linear classifiers on Gaussian mixtures, and the records every layer shares."""
