"""Simulation of linear adversarial training on Gaussian mixtures, compared with `theory`."""
