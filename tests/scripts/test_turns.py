"""Objects in processes of their own."""

from __future__ import annotations

import os
import time

import pytest

from scripts.turns import Player


class Toy:
    """What a process may hold."""

    def __init__(self, start: int) -> None:
        if start < 0:
            raise ValueError(f"start is {start}")
        self.total = start

    def add(self, number: int, seconds: float = 0.0) -> tuple[int, int]:
        time.sleep(seconds)
        self.total += number
        return self.total, os.getpid()

    def leave(self) -> None:
        os._exit(3)


def test_a_player_remembers_and_is_timed():
    """It lives in one other process, whose work alone counts as time."""
    with Player(Toy, 5) as one, Player(Toy, 50) as other:
        (first, process), _ = one("add", 1)
        (second, again), seconds = one("add", 2, 0.3)
        (third, elsewhere), _ = other("add", 1)
    assert (first, second, third) == (6, 8, 51)
    assert process == again
    assert len({process, elsewhere, os.getpid()}) == 3
    assert 0.3 <= seconds < 5


@pytest.mark.parametrize(
    ("start", "method", "said"),
    [
        (-1, "add", "add: ValueError: start is -1"),
        (0, "leave", "leave: its process ended with code 3"),
    ],
)
def test_what_goes_wrong_is_said(start, method, said):
    """An error in the process, and its end."""
    arguments = (1,) if method == "add" else ()
    with Player(Toy, start) as player, pytest.raises(RuntimeError) as raised:
        player(method, *arguments)
    assert str(raised.value) == said
