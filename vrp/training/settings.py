"""Which settings a run must keep for all its life. Imports nothing, so that it is quick to ask."""

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
