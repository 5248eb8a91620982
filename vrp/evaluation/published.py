"""Tour lengths of the literature on the uniform instances of Nazari et al. (2018).

Whether a number can be compared with ours depends on the instances it was measured on, so each
entry says which these were. Results that a paper gives only as a gap are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vrp.problem.datasets import CAPACITY

# kool: Kool's 10,000 instances of seed 1234, our sets kool20, kool50 and kool100
# nazari: Nazari's own 1,000, which are not known: the seed in their code is from after the paper
# other: the authors' own draw from the same distribution
Drawn = Literal["kool", "nazari", "other"]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@dataclass(frozen=True)
class Entry:
    """One published mean tour length.

    Attributes:
        method: as the source calls it.
        num_customers: 10, 20, 50 or 100, with the capacity that goes with it.
        instances: what it was measured on, see `Drawn`.
        split_delivery: whether a customer could be served in several visits.
        cost: mean tour length.
        source: where we read it; says so where that is not the authors' own paper.
        std: standard deviation over the instances, or None.
        seconds: wall-clock of the whole set over its number of instances, on the source's
            machine, or None.
        note: what a reader should know.
    """

    method: str
    num_customers: int
    instances: Drawn
    split_delivery: bool
    cost: float
    source: str
    std: float | None = None
    seconds: float | None = None
    note: str = ""


def _nazari(
    source: str, split: bool, rows: dict[str, list[tuple[float, float, float]]]
) -> list[Entry]:
    """Rows of (mean, std, seconds per instance) for 10, 20, 50 and 100 customers."""
    return [
        Entry(method, size, "nazari", split, cost, source, std, seconds)
        for method, cells in rows.items()
        for size, (cost, std, seconds) in zip(CAPACITY, cells, strict=False)
    ]


def _table(
    source: str,
    drawn: Drawn,
    rows: dict[str, list[tuple[float, float | None] | None]],
    split: bool = False,
    note: str = "",
) -> list[Entry]:
    """Rows of (mean, seconds for 10,000 instances) for 20, 50 and 100 customers."""
    return [
        Entry(
            method,
            size,
            drawn,
            split,
            cell[0],
            source,
            seconds=None if cell[1] is None else cell[1] / 10_000,
            note=note,
        )
        for method, cells in rows.items()
        for size, cell in zip((20, 50, 100), cells, strict=True)
        if cell is not None
    ]


PUBLISHED: tuple[Entry, ...] = (
    # One core at 2.6 GHz
    *_nazari(
        "Nazari et al. (2018), table 2",
        False,
        {
            "RL greedy": [
                (4.84, 0.85, 0.049),
                (6.59, 0.89, 0.105),
                (11.39, 1.31, 0.156),
                (17.23, 1.97, 0.321),
            ],
            "RL beam 5": [
                (4.72, 0.83, 0.061),
                (6.45, 0.87, 0.135),
                (11.22, 1.29, 0.208),
                (17.04, 1.93, 0.390),
            ],
            "RL beam 10": [
                (4.68, 0.82, 0.072),
                (6.40, 0.86, 0.162),
                (11.15, 1.28, 0.232),
                (16.96, 1.92, 0.445),
            ],
            "Clarke-Wright greedy": [
                (5.06, 0.85, 0.002),
                (7.22, 0.90, 0.011),
                (12.85, 1.33, 0.052),
                (19.72, 1.92, 0.186),
            ],
            "Clarke-Wright random (5,5)": [
                (4.86, 0.82, 0.016),
                (6.89, 0.84, 0.053),
                (12.35, 1.27, 0.217),
                (19.09, 1.85, 0.735),
            ],
            "Clarke-Wright random (10,10)": [
                (4.80, 0.82, 0.079),
                (6.81, 0.82, 0.256),
                (12.25, 1.25, 0.903),
                (18.96, 1.85, 3.171),
            ],
            "sweep basic": [
                (5.42, 0.95, 0.001),
                (7.59, 0.93, 0.006),
                (13.61, 1.23, 0.096),
                (21.01, 1.51, 1.341),
            ],
            "sweep random (5)": [
                (5.07, 0.87, 0.004),
                (7.17, 0.85, 0.029),
                (13.09, 1.12, 0.472),
                (20.47, 1.41, 6.32),
            ],
            "sweep random (10)": [
                (5.00, 0.87, 0.008),
                (7.08, 0.84, 0.062),
                (12.96, 1.12, 0.988),
                (20.33, 1.39, 12.443),
            ],
            "OR-Tools": [
                (4.67, 0.81, 0.004),
                (6.43, 0.86, 0.010),
                (11.31, 1.29, 0.053),
                (17.16, 1.88, 0.231),
            ],
            "optimal (Gurobi)": [(4.55, 0.78, 0.029), (6.10, 0.79, 102.8)],
        },
    ),
    # The weights of the rows above, splits allowed when tested
    *_nazari(
        "Nazari et al. (2018), appendix C.2",
        True,
        {
            "RL greedy": [
                (4.80, 0.83, 0.059),
                (6.51, 0.84, 0.107),
                (11.32, 1.27, 0.176),
                (17.12, 1.90, 0.310),
            ],
            "RL beam 5": [
                (4.69, 0.80, 0.063),
                (6.40, 0.85, 0.145),
                (11.14, 1.25, 0.226),
                (16.94, 1.88, 0.401),
            ],
            "RL beam 10": [
                (4.65, 0.79, 0.074),
                (6.34, 0.80, 0.155),
                (11.08, 1.24, 0.250),
                (16.86, 1.87, 0.477),
            ],
        },
    ),
    # A popular PyTorch port of the paper
    *[
        Entry(
            "RL greedy, PyTorch port",
            size,
            "other",
            False,
            cost,
            "mveres01/pytorch-drl4vrp, README",
            note="forbids a customer whose demand equals the load",
        )
        for size, cost in ((10, 5.082), (20, 6.904))
    ],
    # 32 virtual CPUs
    *_table(
        "Kool et al. (2019), table 1",
        "kool",
        {"LKH3": [(6.14, 2 * _HOUR), (10.38, 7 * _HOUR), (15.65, 13 * _HOUR)]},
    ),
    # One GTX 1080 Ti
    *_table(
        "Kool et al. (2019), table 1",
        "kool",
        {
            "AM greedy": [(6.40, 1), (10.98, 3), (16.80, 8)],
            "AM sampling 1280": [(6.25, 6 * _MINUTE), (10.62, 28 * _MINUTE), (16.23, 2 * _HOUR)],
        },
    ),
    *_table(
        "Kool et al. (2019), table 1",
        "kool",
        {
            "AM greedy": [(6.39, 1), (10.92, 4), (16.83, 11)],
            "AM sampling 1280": [(6.25, 9 * _MINUTE), (10.59, 42 * _MINUTE), (16.27, 3 * _HOUR)],
        },
        split=True,
        note="that these are Kool's instances follows from his code",
    ),
    *_table(
        "Chen and Tian (2019), table 6",
        "other",
        {"NeuRewriter": [(6.16, None), (10.51, None), (16.10, None)]},
    ),
    # One Titan RTX
    *_table(
        "Kwon et al. (2020), table 2",
        "other",
        {
            "AM greedy, retrained": [(6.40, None), (10.93, None), (16.73, None)],
            "POMO single": [(6.35, None), (10.74, 1), (16.15, 3)],
            "POMO multi-start": [(6.17, 1), (10.49, 4), (15.83, 19)],
            "POMO multi-start x8": [(6.14, 5), (10.42, 26), (15.73, 2 * _MINUTE)],
        },
    ),
    *_table(
        "Kwon et al. (2020), quoting Hottung and Tierney (2020)",
        "kool",
        {"NLNS": [(6.19, 7 * _MINUTE), (10.54, 24 * _MINUTE), (15.99, _HOUR)]},
    ),
    *_table(
        "Kwon et al. (2020), quoting Lu et al. (2020)",
        "other",
        {"L2I": [(6.12, 12 * _MINUTE), (10.35, 17 * _MINUTE), (15.57, 24 * _MINUTE)]},
    ),
    # One RTX 2080 Ti
    *_table(
        "Xin et al. (2021), table 1",
        "other",
        {
            "MDAM greedy": [(6.24, 7), (10.74, 16), (16.40, 45)],
            "MDAM beam 50": [(6.14, 5 * _MINUTE), (10.48, 15 * _MINUTE), (15.99, 53 * _MINUTE)],
        },
        note="their code takes the first 10,000 of 100,000, whose customers are not Kool's",
    ),
    *_table(
        "Xin et al. (2021), table 1",
        "other",
        {
            "MDAM greedy": [(6.25, 13), (10.72, 28), (16.39, _MINUTE)],
            "MDAM beam 50": [(6.15, 6 * _MINUTE), (10.47, 19 * _MINUTE), (15.97, _HOUR)],
        },
        split=True,
        note="their code takes the first 10,000 of 100,000, whose customers are not Kool's",
    ),
    # One CPU
    *_table(
        "Choo et al. (2022)",
        "kool",
        {
            "HGS": [None, None, (15.563, 54 * _HOUR)],
            "LKH3, long": [None, None, (15.646, 6 * _DAY)],
        },
    ),
    # One A100
    *_table(
        "Choo et al. (2022)",
        "kool",
        {
            "POMO multi-start x8": [None, None, (15.763, None)],
            "POMO sampling x8": [None, None, (15.663, 6 * _HOUR)],
            "EAS": [None, None, (15.618, 6 * _HOUR)],
            "EAS, long": [None, None, (15.599, 30 * _HOUR)],
            "SGBS": [None, None, (15.659, 10 * _MINUTE)],
            "SGBS+EAS": [None, None, (15.594, 6 * _HOUR)],
            "SGBS+EAS, long": [None, None, (15.580, 30 * _HOUR)],
        },
    ),
    *_table(
        "Choo et al. (2022), quoting Ma et al. (2021)",
        "kool",
        {"DACT": [None, None, (15.747, 22 * _HOUR)]},
    ),
    *_table(
        "Choo et al. (2022), quoting Kool et al. (2022)",
        "kool",
        {"DPDP": [None, None, (15.627, 23 * _HOUR)]},
    ),
    *_table(
        "file names of the data set ML4CO/CVRPUniformDataset",
        "kool",
        {"HGS": [None, (10.36646, 10_000), None]},
        note="that these are Kool's instances is inferred",
    ),
)
