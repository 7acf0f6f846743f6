"""The chance of a cell of the plane under a normal distribution: classes with means in a plane (ours)."""

import numpy as np
import numpy.typing as npt

__all__ = ["places_in_plane", "plane_error"]

Array = npt.NDArray[np.float64]

ANGLES = 2**16
"""The trapezoid rule errs by the square of the step at each corner of a cell: by about 1e-8."""


def plane_error(across: Array, room: Array) -> float:
    """Return the chance that a standard normal point of the plane lies beyond some of several lines.

    A point r (cos t, sin t) is before a line iff r cos(t - angle) <= room: along each direction an interval
    of r from low to high, whose chance is exp(-low^2 / 2) - exp(-high^2 / 2).

    Args:
        across: unit normals of the lines, shape (m, 2).
        room: their distances from the mean, < 0 where it lies beyond, shape (m,).

    Example:
        >>> round(plane_error(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 1.0])), 7)
        0.3173105
    """
    angles = 2 * np.pi * np.arange(ANGLES) / ANGLES
    low, high = np.zeros(ANGLES), np.full(ANGLES, np.inf)
    for (x, y), distance in zip(across, room, strict=True):
        along = x * np.cos(angles) + y * np.sin(angles)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = distance / along
        high = np.where(along > 0, np.minimum(high, crossing), high)
        if distance < 0:
            low = np.where(along < 0, np.maximum(low, crossing), low)
    kept = np.where(high > low, np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2), 0.0)
    return float(1 - kept.mean())


def places_in_plane(mu: Array) -> Array | None:
    """Return means in coordinates of their plane, shape (C, 2); None if they span more.

    Args:
        mu: shape (C, d).
    """
    left, extent, _ = np.linalg.svd(mu - mu.mean(axis=0), full_matrices=False)
    places = np.pad(left * extent, ((0, 0), (0, 2)))
    return places[:, :2] if (extent[2:] <= 1e-12 * extent[0]).all() else None
