"""Simulation of linear adversarial training on Gaussian mixtures, compared with `theory`."""

from theory.common.moved import find_in_rooms

find_in_rooms("sim")
