"""Linear classifiers trained against the exact worst attack, and samples to train them on.

Training, each with a certified gap
    `solve` at one radius, `path` at many: a `Solution` each.
Samples
    `draw` from a `theory.GaussianMixture`.

As a command, ``python -m sim.sweep`` gives every prediction of theory a statistical verdict.

    >>> import numpy as np, sim, theory
    >>> mixture = theory.GaussianMixture(dim=5, eta=0.5, sigma=1.0, K=2.0)
    >>> plus, minus = sim.draw(mixture, 200, np.random.default_rng(0))
    >>> trained = sim.solve(plus, minus, eps="1/10").classifier
    >>> len(trained.errors(mixture, 0.1).robust)
    2
"""

from typing import TYPE_CHECKING

from theory import __version__ as __version__
from theory.common.lazy import front_door
from theory.common.moved import find_in_rooms

if TYPE_CHECKING:
    from sim.sampling.draws import draw as draw
    from sim.solvers.path import path as path
    from sim.solvers.solve import Solution as Solution
    from sim.solvers.solve import solve as solve

HOMES = {
    "Solution": "solvers.solve",
    "draw": "sampling.draws",
    "path": "solvers.path",
    "solve": "solvers.solve",
}

find_in_rooms("sim")
__all__, __getattr__, __dir__ = front_door("sim", HOMES)
