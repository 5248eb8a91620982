"""Programs in processes of their own that take turns: both meet the same minutes of a machine."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

# Threads that wait for their next parallel loop spin for a while before they sleep.
_REST = 0.2  # seconds


class Player(AbstractContextManager):
    """An object in a process of its own, whose methods are called and timed there.

    Args:
        make: gives the object; a function or class of a module.
        arguments: of `make`.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context = get_context("spawn")  # PyTorch's threads do not survive a fork
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, make, arguments), daemon=True)
        self._process.start()
        there.close()

    def __call__(self, method: str, *arguments: Any) -> tuple[Any, float]:
        """What the method returns, and the seconds that it took.

        Raises:
            RuntimeError: if the method, or what makes the object, raised an error, or the process
                ended; names the error.
        """
        time.sleep(_REST)
        try:
            self._pipe.send((method, arguments))
            error, found, seconds = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            error = f"its process ended with code {self._process.exitcode}"
        if error:
            raise RuntimeError(f"{method}: {error}")
        return found, seconds

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., Any], arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    made = None
    while True:
        try:
            method, values = pipe.recv()
        except EOFError:
            return
        error, found, seconds = "", None, 0.0
        try:
            made = make(*arguments) if made is None else made
            begun = time.perf_counter()
            found = getattr(made, method)(*values)
            seconds = time.perf_counter() - begun
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        pipe.send((error, found, seconds))
