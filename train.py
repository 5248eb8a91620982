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
    from vrp.training.start import Start
    from vrp.training.trainer import Trainer


def prepare(job: Job) -> Callable[[], int]:
    """Build all that the config names; the work itself comes later."""
    from vrp.training.device import set_up_device
    from vrp.training.resume import resumed_config
    from vrp.training.settings import refuse_idle
    from vrp.training.trainer import Trainer

    config, checkpoint = resumed_config(job.config, job.run_folder, job.overridden)
    refuse_idle(config, job.overridden)
    device = set_up_device(config["device"], config["threads"])
    started = time.perf_counter() if job.in_sweep else STARTED
    start = None if checkpoint else find_start(config["start_from"])
    trainer = Trainer(config, job.run_folder, device, started, checkpoint, start)
    return partial(work, trainer, job.in_sweep)


def find_start(name: str | None) -> "Start | None":
    """The weights that `start_from` names."""
    if name is None:
        return None
    from vrp.evaluation.trained import find_checkpoint, load_trained
    from vrp.training.start import Start

    trained = load_trained(*find_checkpoint(name, "start_from"))
    return Start(name, trained.sha256, trained.instances, trained.policy)


def work(trainer: "Trainer", in_sweep: bool) -> int:
    """Train, and say what to do next unless other runs follow."""
    code = trainer.run()
    if not in_sweep:
        trainer.print_next_steps()
    return code


if __name__ == "__main__":
    launch(prepare, TrainConfig, "config")
