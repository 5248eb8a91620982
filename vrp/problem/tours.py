"""The judge: length and legality of tours, from the instances alone.

It shares no code with the environment that built the tours, so each can catch the other's
errors. Lengths are torch's, in float64; legality is found in numpy, in whole numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vrp.problem.instances import Instances


def tour_length(instances: Instances, actions: Tensor) -> Tensor:
    """Length of each tour, the legs from and to the depot included.

    Args:
        instances: N problems; their coordinates set the unit of length.
        actions: (N, K, T) int64, nodes in visiting order; 0 is the depot and the padding.

    Returns:
        (N, K) float64 cost, in the unit of the coordinates.

    Raises:
        ValueError: if the first axes differ; gives both sizes.

    Source: Toth and Vigo (2014), chapter 1.
    """
    if actions.dim() != 3 or actions.shape[0] != len(instances):
        raise ValueError(
            f"actions must have shape ({len(instances)}, K, T), not {tuple(actions.shape)}"
        )
    n, k, t = actions.shape
    index = actions.reshape(n, k * t, 1).expand(-1, -1, 2)
    points = instances.coordinates().double().gather(1, index).view(n, k, t, 2)
    depot = instances.depot.double()[:, None, None].expand(n, k, 1, 2)
    path = torch.cat([depot, points, depot], dim=2)
    return (path[:, :, 1:] - path[:, :, :-1]).norm(dim=-1).sum(-1)


def routes(tour: np.ndarray) -> list[list[int]]:
    """The routes of one tour, (T,) nodes: customers between two depot visits, none empty."""
    found: list[list[int]] = [[]]
    for node in tour.tolist():
        if node != 0:
            found[-1].append(node)
        elif found[-1]:
            found.append([])
    return [route for route in found if route]


def check_tours(instances: Instances, actions: Tensor) -> None:
    """Raise unless every tour serves every customer within the capacity and ends at the depot.

    Args:
        instances: N problems.
        actions: (N, K, T) int64, nodes in visiting order, padded with 0.

    Raises:
        ValueError: names the instance, the solution, and the first thing that is wrong.
    """
    if actions.dim() != 3 or actions.shape[0] != len(instances):
        raise ValueError(
            f"actions must have shape ({len(instances)}, K, T), not {tuple(actions.shape)}"
        )
    demands = instances.demand.cpu().numpy()
    capacities = instances.capacity.cpu().numpy()
    tours = actions.cpu().numpy()
    if instances.split_delivery:
        doubtful = np.ones(tours.shape[:2], dtype=bool)
    else:
        doubtful = ~_are_whole_and_light(tours, demands, capacities)
    for n, k in np.argwhere(doubtful):
        wrong = _fault(tours[n, k], demands[n], int(capacities[n]), instances.split_delivery)
        if wrong:
            raise ValueError(f"instance {n}, solution {k}: {wrong}")


def _are_whole_and_light(
    tours: np.ndarray, demands: np.ndarray, capacities: np.ndarray
) -> np.ndarray:
    """(N, K) bool: surely legal where deliveries are not split; all tours at once.

    Args:
        tours: (N, K, T) nodes.
        demands: (N, C).
        capacities: (N,).
    """
    n, k, t = tours.shape
    nodes = demands.shape[1] + 1
    if not tours.size or tours.min() < 0 or tours.max() >= nodes:
        return np.zeros((n, k), dtype=bool)
    flat = tours.reshape(n * k, t).astype(np.int64)
    row = np.arange(n * k)[:, None]
    visits = np.bincount((row * nodes + flat).ravel(), minlength=n * k * nodes)
    visits = visits.reshape(n, k, nodes)[..., 1:]
    is_whole = ((visits == 1) | ((visits == 0) & (demands == 0)[:, None])).all(-1)
    goods = np.pad(demands, ((0, 0), (1, 0))).repeat(k, 0)[row, flat]
    route = (flat == 0).cumsum(1)  # from 0 to T
    loads = np.bincount((row * (t + 1) + route).ravel(), goods.ravel(), n * k * (t + 1))
    is_light = loads.reshape(n, k, t + 1).max(-1) <= capacities[:, None]
    return is_whole & is_light & (tours[..., -1] == 0)


def _fault(tour: np.ndarray, demand: np.ndarray, capacity: int, split: bool) -> str | None:
    """What is wrong with one tour, (T,) nodes, or None."""
    nodes = tour.tolist()
    num_customers = len(demand)
    if not nodes or nodes[-1] != 0:
        return f"the tour does not end at the depot but at node {nodes[-1] if nodes else None}"
    strangers = [node for node in nodes if not 0 <= node <= num_customers]
    if strangers:
        return f"node {strangers[0]} does not exist; nodes are 0 to {num_customers}"
    visits = np.bincount(tour, minlength=num_customers + 1)[1:]
    missing = np.flatnonzero((visits == 0) & (demand > 0))
    if missing.size:
        return f"customer {missing[0] + 1} is never visited"
    if split:
        return _split_fault(nodes, demand, capacity)
    twice = np.flatnonzero(visits > 1)
    if twice.size:
        return f"customer {twice[0] + 1} is visited {visits[twice[0]]} times"
    for number, route in enumerate(routes(tour)):
        goods = int(sum(demand[node - 1] for node in route))
        if goods > capacity:
            return f"route {number + 1} carries {goods}, above the capacity {capacity}"
    return None


def _split_fault(nodes: list[int], demand: np.ndarray, capacity: int) -> str | None:
    """As `_fault`, where each visit hands over as much as is needed and on the vehicle."""
    owed = demand.tolist()
    load = capacity
    for node in nodes:
        if node == 0:
            load = capacity
            continue
        given = min(load, owed[node - 1])
        if given == 0:
            return f"a visit to customer {node} delivers nothing"
        load -= given
        owed[node - 1] -= given
    short = [number for number, rest in enumerate(owed) if rest]
    if short:
        return f"customer {short[0] + 1} still needs {owed[short[0]]}"
    return None
