"""Closed-form class errors of linear classifiers on Gaussian mixtures, and the records every layer shares."""

from theory.common.moved import find_in_rooms

find_in_rooms("theory")
