"""Train a policy: `python train.py encoder=conv1d`. See README.md, or `python train.py --help`."""

import time

STARTED = time.perf_counter()

from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from scripts.heap import settle_heap  # noqa: E402

if __name__ == "__main__":
    settle_heap()  # before the imports that take time

from scripts.launcher import Job, launch  # noqa: E402
from scripts.schema import TrainConfig  # noqa: E402

if TYPE_CHECKING:
    from vrp.training.trainer import Trainer


def prepare(job: Job) -> Callable[[], int]:
    """Build all that the config names; the work itself comes later."""
    from vrp.training.device import choose_device
    from vrp.training.resume import resumed_config
    from vrp.training.trainer import Trainer

    config, checkpoint = resumed_config(job.config, job.run_folder, job.overridden)
    device = choose_device(config["device"], config["threads"])
    started = time.perf_counter() if job.in_sweep else STARTED
    trainer = Trainer(config, job.run_folder, device, started, checkpoint)
    return partial(work, trainer, job.in_sweep)


def work(trainer: "Trainer", in_sweep: bool) -> int:
    """Train, and say what to do next unless other runs follow."""
    code = trainer.run()
    if not in_sweep:
        trainer.print_next_steps()
    return code


if __name__ == "__main__":
    launch(prepare, TrainConfig, "config")
