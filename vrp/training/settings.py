"""What settings mean for each other, and which a run must keep for all its life.

Imports nothing, so that it is quick to ask.
"""

# A resumed run may differ in when it stops, what it shows and where it computes; nothing else.
MAY_DIFFER = frozenset(
    {
        "max_instances",
        "max_time",
        "progress",
        "checkpoint_every",
        "device",
        "threads",
        "compile",
    }
)

# Settings that do nothing unless another has a certain value.
_ONLY_WITH = {
    "learning_rate_steps": ("learning_rate_decay", "steps"),
    "learning_rate_factor": ("learning_rate_decay", "steps"),
}


def refuse_idle(config: dict, given: tuple[str, ...]) -> None:
    """Raise a ValueError for a key that was given and does nothing; names what it needs."""
    for key in given:
        other, value = _ONLY_WITH.get(key, (None, None))
        if other is not None and config[other] != value:
            raise ValueError(
                f"{key} is {config[key]}, but does nothing while {other} is {config[other]}; "
                f"give {other}={value}, too"
            )
