"""Rows on a plane: neighbours stay neighbours, regions keep their distances as well as two dimensions allow.

Pairs of rows pull and push each other: near ones, middling ones at first, and ones drawn at random, with the forces and
the three phases of PaCMAP: Y. Wang, H. Huang, C. Rudin, Y. Shaposhnik, "Understanding How Dimension Reduction Tools
Work" (2021), sections 5 and 6. What is near on the plane is alike; how far apart far things are says little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from honed.data.score.vectors import Vectors

Points = NDArray[np.float64]
Pairs = NDArray[np.int64]

_NEAR, _MIDDLE, _FAR = 10, 5, 14
_PHASES = ((70, 300.0, 2.0), (70, 3.0, 3.0), (140, 0.0, 1.0))
"""Steps, the weight of middling pairs, that of near ones; pairs that are far weigh 1 throughout."""
_BLOCK = 1024
_DRAWN_IN = 0.7
_FILLED = 0.12
"""The share of the plane that the room of all points makes together, about."""
_SPACINGS = 40


def laid_out(unit: Vectors, seed: int) -> Points:
    """Return a point for each row, shape (rows, 2); the same for the same rows and seed."""
    random = np.random.default_rng(seed)
    points = _flat(unit)
    if len(unit) < 3 * _NEAR:
        return points
    near = _neighbours(unit)
    middle, far = _middling(unit, random), random.integers(len(unit), size=(len(unit), _FAR))
    moments = np.zeros((2, *points.shape))
    step = 0
    for steps, middle_weight, near_weight in _PHASES:
        for _ in range(steps):
            step += 1
            push = _pull(points, near, 10.0) * near_weight - _repel(points, far)
            if middle_weight:
                push += _pull(points, middle, 10_000.0) * middle_weight
            moments[0] = 0.9 * moments[0] + 0.1 * push
            moments[1] = 0.999 * moments[1] + 0.001 * push * push
            first, second = moments[0] / (1 - 0.9**step), moments[1] / (1 - 0.999**step)
            points -= first / (np.sqrt(second) + 1e-7)
    return _spaced(_drawn_in(points - np.median(points, axis=0)))


def densest(points: Points, radius: float) -> tuple[float, float]:
    """Return the point with the most others within ``radius``: where the name of their region stands."""
    counts = cKDTree(points).query_ball_point(points, radius, return_length=True)
    x, y = points[int(np.argmax(counts))]
    return float(x), float(y)


def _drawn_in(points: Points) -> Points:
    """Bring what lies far out nearer, in its direction: half of the plane would be empty otherwise."""
    radius = np.linalg.norm(points, axis=1, keepdims=True)
    found: Points = points * (np.maximum(radius, 1e-9) / max(float(np.median(radius)), 1e-9)) ** (_DRAWN_IN - 1)
    return found


def _spaced(points: Points) -> Points:
    """Push points that lie on each other apart until each has a little room, so that all can be seen."""
    span = np.ptp(points, axis=0)
    room = (_FILLED * float(span[0] * span[1]) / len(points)) ** 0.5
    points = points + np.random.default_rng(0).normal(0, 1e-3 * room, points.shape)  # equal ones have no direction
    for _ in range(_SPACINGS):
        apart, near = cKDTree(points).query(points, k=min(7, len(points)))
        close = np.maximum(room - apart[:, 1:], 0) / np.maximum(apart[:, 1:], 1e-9)
        points = points + 0.25 * ((points[:, None] - points[near[:, 1:]]) * close[..., None]).sum(axis=1)
    return points


def _flat(unit: Vectors) -> Points:
    """The two main directions, small: where all begins."""
    centred = unit - unit.mean(axis=0)
    _, _, directions = np.linalg.svd(centred.T @ centred)
    found = np.asarray(centred @ directions[: min(2, len(directions))].T, np.float64)
    found = np.pad(found, ((0, 0), (0, 2 - found.shape[1])))
    scaled: Points = found / max(float(np.abs(found).max()), 1e-9)
    return scaled


def _neighbours(unit: Vectors) -> Pairs:
    found = np.empty((len(unit), _NEAR), np.int64)
    for start in range(0, len(unit), _BLOCK):
        cosines = unit[start : start + _BLOCK] @ unit.T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -2.0
        found[start : start + _BLOCK] = np.argpartition(-cosines, _NEAR, axis=1)[:, :_NEAR]
    return found


def _middling(unit: Vectors, random: np.random.Generator) -> Pairs:
    """For each row, some that are the second nearest of six drawn at random."""
    columns = []
    for _ in range(_MIDDLE):
        drawn = random.integers(len(unit), size=(len(unit), 6))
        cosines = np.einsum("nd,nkd->nk", unit, unit[drawn])
        second = np.argsort(-cosines, axis=1, kind="stable")[:, 1]
        columns.append(drawn[np.arange(len(unit)), second])
    return np.stack(columns, axis=1)


def _pull(points: Points, pairs: Pairs, scale: float) -> Points:
    """The gradient of d / (scale + d), where d is 1 plus the squared distance."""
    apart = points[:, None] - points[pairs]
    squared = 1 + (apart**2).sum(axis=2)
    return _both(apart * (2 * scale / (scale + squared) ** 2)[..., None], pairs)


def _repel(points: Points, pairs: Pairs) -> Points:
    """The gradient of -1 / (1 + d)."""
    apart = points[:, None] - points[pairs]
    squared = 1 + (apart**2).sum(axis=2)
    return _both(apart * (2 / (1 + squared) ** 2)[..., None], pairs)


def _both(forces: NDArray[np.float64], pairs: Pairs) -> Points:
    """Forces on both ends of each pair, summed by row."""
    found: Points = forces.sum(axis=1)
    flat = pairs.ravel()
    for axis in range(2):
        found[:, axis] -= np.bincount(flat, weights=forces[..., axis].ravel(), minlength=len(found))
    return found
