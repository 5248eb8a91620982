"""Weights of the published attention networks, in the names of `AttentionPolicy`.

Three layouts are known: that of Kool et al. (2019), wouterkool/attention-learn-to-route, and two of
POMO (Kwon et al. 2020), yd-kwon/POMO: of its notebooks, which came with the paper, and of its later
code. All keep depot and customers in a Linear each, the demand being the third input of the
customers' one; here that column is a weight of its own.
"""

from vrp.policy.foreign.layouts import convert
from vrp.policy.foreign.reading import read_state_dict
from vrp.policy.foreign.source import Converted

__all__ = ["Converted", "convert", "read_state_dict"]
