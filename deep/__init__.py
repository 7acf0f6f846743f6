"""Adversarial training of networks, the fairness remedies, and the errors of every class."""

from theory.common.cli import refuse_without_extras

refuse_without_extras()
