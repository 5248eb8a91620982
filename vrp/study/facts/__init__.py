"""Claims about the layers behind the encoders, each checked by measurement.

A module holds one subject: functions that measure and return a `Fact`, and `FACTS`, which names
them in the order of the table.
"""

from vrp.study.facts.record import FAST, FULL, Budget, Check, Fact
from vrp.study.facts.subjects import SUBJECTS, chosen, markdown

__all__ = ["FAST", "FULL", "SUBJECTS", "Budget", "Check", "Fact", "chosen", "markdown"]
