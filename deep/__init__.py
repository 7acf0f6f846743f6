"""Adversarial training of networks, the fairness remedies, and the errors of every class."""
