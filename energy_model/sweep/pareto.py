"""Pareto front: the points that no other point beats."""

from __future__ import annotations

import numpy as np


def pareto_front(costs: np.ndarray) -> np.ndarray:
    """Find the points on the Pareto front.

    Parameters
    ----------
    costs : array of (points, objectives)
        Less is better in each.

    Returns
    -------
    array of int
        Indices of the points, rising, that no point dominates: none is as good in every objective
        and better in one. Points that are equal in all stand or fall together.
    """
    costs = np.asarray(costs, dtype=float)
    # A point comes after all that dominate it, so one look at the front so far is enough.
    order = np.lexsort(costs.T[::-1])
    front = np.empty_like(costs)
    kept: list[int] = []
    for index in order:
        point, size = costs[index], len(kept)
        better = front[:size]
        if np.any(np.all(better <= point, axis=1) & np.any(better < point, axis=1)):
            continue
        front[size] = point
        kept.append(index)
    return np.sort(np.array(kept, dtype=int))
