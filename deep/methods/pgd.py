"""PGD adversarial training: Madry et al., ICLR 2018, https://arxiv.org/abs/1706.06083.

"Towards Deep Learning Models Resistant to Adversarial Attacks":

min over theta of E max over |d|_inf <= eps of CE(f(x + d), y); only attacked inputs are trained
on.

Deviations from the official code (MadryLab/cifar10_challenge): batch norm uses its running
statistics while the attack is made (there: batch statistics), and the step is eps / 4, which is
2/255 for eps = 8/255 as there.
"""

from deep.methods.base import Method

__all__ = ["METHOD", "PGD"]


class PGD(Method):
    """PGD adversarial training: every hook at its default."""


METHOD = PGD
