"""The training loop; the only module here that knows all the others."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from vrp.problem.datasets import STANDARD_SETS
from vrp.search import Solution
from vrp.search.deterministic import Stopped
from vrp.search.solution import join
from vrp.training.build import build_generator, build_learner
from vrp.training.checkpoint import save_checkpoint
from vrp.training.compilation import missing_for_compile
from vrp.training.learner import Learned
from vrp.training.logger import RunLogger
from vrp.training.progress import Progress
from vrp.training.resume import refuse_other_weights
from vrp.training.rounding import LIMIT
from vrp.training.run_files import (
    Row,
    ended_at,
    policy_content,
    products,
    provenance,
    write_summary,
)
from vrp.training.signals import StopSignals
from vrp.training.start import Start
from vrp.training.step import TrainingStep, check_weights, make_optimizer
from vrp.training.tour_figure import can_draw
from vrp.training.validation import make_validation

# Compilation that each process repeats waits until progress has been seen. A fixed step, so that
# resuming does the same.
_COMPILE_AT = 20
# Seconds that a validation may go on after `max_time`: a quick one still ends a piece of a run, and
# the process has ended ten seconds later.
_GRACE = 20
_STOPPING = "stopping after this step or part of a validation; again to abort with last.pt as it is"
_LOG_EVERY = 10  # steps between two TensorBoard scalars


class Trainer:
    """Trains what a config describes and leaves all in a run folder.

    A step's random numbers depend on the seed and its own number alone (`step.TrainingStep`), so no
    random state needs to be kept: a run that resumes at s goes on as if it had not stopped.

    Args:
        config: plain and complete, as `configs/config.yaml` composes it.
        folder: of the run; exists.
        device: where to train.
        started: `time.perf_counter()` at the start of the process.
        resumed: content of the checkpoint to go on from, or None.
        start: what the policy begins with instead of weights drawn from the seed; None where
            `resumed` is given.

    Raises:
        ValueError: for a setting out of range, before anything is written.
    """

    def __init__(
        self,
        config: dict,
        folder: Path,
        device: torch.device,
        started: float,
        resumed: dict | None = None,
        start: Start | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self.device = device
        self.started = started
        self.generator = build_generator(config)
        self.learner = build_learner(config, self.generator)
        chosen = config["validation"]
        self.validation = make_validation(
            self.generator, chosen["set"], chosen["limit"], chosen["decode"]
        )
        self.progress = Progress()
        self._found: list[Solution] = []  # in a validation that is not over
        self.rounding: float | None = None  # in the last validation
        self.started_from = start.origin() if start else None
        self.learner.to(device)
        if resumed is None:  # on the device: a baseline may solve instances
            self.learner.policy.initialise(config["seed"])
            if start is not None:
                start.load_into(self.learner.policy)
            self.learner.baseline.initialise(config["seed"], self.learner.policy)
        self.optimizer = make_optimizer(config, self.learner)
        self.step = TrainingStep(config, self.generator, self.learner, self.optimizer, device)
        if resumed is not None:
            refuse_other_weights(folder, resumed, self.learner)
            self.learner.policy.load_state_dict(resumed["policy"])
            self.learner.baseline.load_state_dict(resumed["baseline"])
            self.optimizer.load_state_dict(resumed["optimizer"])
            self.progress = Progress(**resumed["progress"])
            self.rounding = resumed["rounding"]
            self.started_from = resumed["started_from"]
            if found := resumed["validating"]:
                self._found = [Solution(**found)]
        self._products_before = resumed["products"] if resumed else None
        self._warned_of_rounding = False
        self._compiled = False
        self._compiles = False  # in the next step, whose time then does not count
        self._signals = StopSignals(_STOPPING)

    def run(self) -> int:
        """Train until the instances, the time or the user say stop.

        Returns:
            The exit code: 0, or 130 or 143 after a signal.

        Raises:
            FloatingPointError: if the loss or a gradient is not finite; last.pt is then from
                before.
            OSError: if a checkpoint cannot be written; the one before is then still there.
        """
        progress, config = self.progress, self.config
        if self._has_ended():
            return 0
        begins = progress.validated_step < 0
        self.log = RunLogger(
            self.folder,
            None if begins else progress.step,
            progress.instances,
            config["max_instances"],
            config["progress"],
        )
        try:
            with self._signals as signals:
                if self.generator.split_delivery and not self.learner.policy.sees_remaining:
                    self.log.say(
                        "deliveries may be split, but this policy sees each demand at the start "
                        "only, not what is left of it; policy=pointer sees that"
                    )
                if caution := self.learner.baseline.caution(config["max_instances"]):
                    self.log.say(caution)
                now = products(self.learner.policy, self.device)
                if self._products_before not in (None, now):
                    self.log.say(
                        f"products were {self._products_before} and are {now} here "
                        "(policy.precision=auto): the training goes on otherwise than it would have"
                    )
                if begins:
                    self.log.hyperparameters(config)
                if self.learner.policy.keeps_kernels or progress.step > _COMPILE_AT:
                    self._maybe_compile()  # what comes before the next step, too
                if self._validation_is_due():
                    self._validate()
                    self._save("last.pt")
                first = progress.step
                self.learner.baseline.after_step(
                    self.learner.policy, progress.instances, self._interrupted
                )
                while not self._stopped():
                    self._train_step()
                    if self._validation_is_due():
                        self._validate()
                    if self._passed(config["checkpoint_every"]):
                        self._save("last.pt")
                if not (self._is_validated() or self._interrupted(_GRACE)):
                    self._validate()
                if not self._is_validated():
                    self._row(None, None)
                if progress.step == first and self._is_late() and not self._is_complete():
                    self.log.say(
                        f"no training step in this piece: max_time={config['max_time']:g} was over "
                        "before; what else it began goes on in the next one"
                    )
                self._save("last.pt")
                write_summary(
                    self.folder,
                    self._progress_now(),
                    self.validation,
                    self.learner.policy,
                    self._provenance(),
                )
        finally:
            self.log.close()
        return signals.exit_code

    def print_next_steps(self) -> None:
        """What the user may want to type now."""
        folder = os.path.relpath(self.folder)
        name = self.validation.name
        data = name.removesuffix("-val") if name in STANDARD_SETS else "FILE"
        if not self._has_ended():
            print(f"to go on:      python train.py resume={folder}")
        print(f"to look:       tensorboard --logdir {os.path.dirname(folder) or folder}")
        file = folder if self._is_validated() else f"{folder}/last.pt"
        print(f"to measure:    python scripts/evaluate.py checkpoint={file} data={data}")
        if not self._is_validated() and (self.folder / "best.pt").exists():
            best, last = self.progress.best_step, self.progress.step
            print(f"               best.pt is of step {best}; step {last} was not validated")
        if (self.folder / "tours.png").exists():
            print(f"tours:         {folder}/tours.png")

    def elapsed(self) -> float:
        """Seconds since the start of this process."""
        return time.perf_counter() - self.started

    def _stopped(self) -> bool:
        return self._interrupted() or self._is_complete()

    def _is_complete(self) -> bool:
        return self.progress.instances >= self.config["max_instances"]

    def _interrupted(self, grace: float = 0.0) -> bool:
        return self._is_late(grace) or self._signals.received is not None

    def _is_late(self, grace: float = 0.0) -> bool:
        limit = self.config["max_time"]
        return limit is not None and self.elapsed() >= limit + grace

    def _passed(self, every: int) -> bool:
        """Whether the last step reached or crossed a multiple of `every` instances."""
        now = self.progress.instances
        return now // every > (now - self.config["batch_size"]) // every

    def _validation_is_due(self) -> bool:
        """Also where a stop left it to the run's next piece."""
        reached = self.progress.step == 0 or self._passed(self.config["validation"]["every"])
        return reached and not self._is_validated()

    def _is_validated(self) -> bool:
        return self.progress.step == self.progress.validated_step

    def _has_ended(self) -> bool:
        """Whether nothing is missing: a run may have been killed after its last step."""
        instances = self.progress.instances
        if instances < self.config["max_instances"] or not self._is_validated():
            return False
        if self.learner.baseline.is_due(instances):
            return False
        return ended_at(self.folder) == self.progress.step

    def _train_step(self) -> None:
        begun = time.perf_counter()
        progress, batch_size = self.progress, self.config["batch_size"]
        self._maybe_compile()
        compiles, self._compiles = self._compiles, False
        try:
            learned, norm = self.step(progress.step, progress.instances, stopped=self._interrupted)
        except FloatingPointError as error:
            raise FloatingPointError(self._explained(error, progress.step + 1)) from None
        self._found = []
        progress.step += 1
        progress.instances += batch_size
        cost = learned.cost.mean().item()
        progress.cost_sum += cost
        progress.cost_count += 1
        took = time.perf_counter() - begun
        if not compiles:
            progress.train_seconds += took
        self.log.advance(batch_size, cost)
        if progress.step % _LOG_EVERY == 0:
            self._log_step(learned, norm, took)

    def _explained(self, error: FloatingPointError, step: int) -> str:
        return (
            f"step {step}: {error}; {self.folder / 'last.pt'} is from before; "
            "a lower learning_rate may help"
        )

    def _maybe_compile(self) -> None:
        """Compile what there is to compile from the fixed step on."""
        if self.config["compile"] == "off" or self._compiled:
            return
        if not self.learner.policy.has_kernels(self.device):
            return
        is_kept = self.learner.policy.keeps_kernels
        if self.progress.step < _COMPILE_AT and not is_kept:
            return
        self._compiled = True
        missing = missing_for_compile(self.learner.policy, self.device)
        if missing:
            self.log.say(f"not compiled: {missing}; training goes on without")
        else:
            self.learner.compile_kernels()
            self._compiles = not is_kept

    def _validate(self) -> None:
        """Measure and keep the policy; a stop leaves that undone, with what was found so far."""
        step, stopped = self.progress.step, partial(self._interrupted, _GRACE)
        try:
            solution = self.validation(self.learner.policy, self.device, stopped, self._found)
        except Stopped:
            self.log.say(f"step {step}: stopped within the validation")
            return
        self._found = []
        cost, gap = solution.cost.mean().item(), self.validation.gap(solution)
        self.progress.validated_step = step
        self._row(cost, gap)
        self._measure_rounding(solution)
        scalars = {"val/cost": cost, "val/gap": gap, "val/rounding": self.rounding}
        self.log.scalars(step, {name: x for name, x in scalars.items() if x is not None})
        if can_draw():
            figure = self.validation.figure(solution)
            self.log.figure("val/tours", figure, step)
            figure.savefig(self.folder / "tours.png", dpi=120)
        if cost < self.progress.best_cost:
            self.progress.best_cost, self.progress.best_step = cost, step
            self._save("best.pt")

    def _measure_rounding(self, solution: Solution) -> None:
        """Of validation's tours; said at the start, and once where it exceeds the limit."""
        self.rounding = self.validation.rounding(self.learner.policy, self.device, solution)
        if self.rounding is None:
            return
        if self.progress.step == 0:
            rounded = products(self.learner.policy, self.device)
            self.log.say(
                f"products are {rounded}: the log-probability of a tour differs by "
                f"{self.rounding:.3f} on average from that in float32"
            )
        if self.rounding > LIMIT and not self._warned_of_rounding:
            self._warned_of_rounding = True
            self.log.say(
                f"step {self.progress.step}: rounded products change the log-probability of a tour "
                f"by {self.rounding:.3f} on average, more than {LIMIT:g}; a run with "
                "policy.precision=float32 and this one as start_from= does without"
            )

    def _provenance(self) -> dict[str, object]:
        return provenance(self.learner.policy, self.device, self.rounding, self.started_from)

    def _progress_now(self) -> Progress:
        """With this piece's seconds, too."""
        return replace(self.progress, seconds=self.progress.seconds + self.elapsed())

    def _row(self, cost: float | None, gap: float | None) -> None:
        self.log.row(Row.of(self._progress_now(), cost, gap))
        self.progress.cost_sum, self.progress.cost_count = 0.0, 0

    def _log_step(self, learned: Learned, norm: torch.Tensor, seconds: float) -> None:
        baseline_loss = learned.baseline_loss.item()
        self.log.scalars(
            self.progress.step,
            {
                "train/cost": learned.cost.mean().item(),
                "train/advantage": learned.advantages.mean().item(),
                "train/advantage_std": learned.advantages.std(correction=0).item(),
                "train/entropy": learned.entropy.item(),
                "train/gradient_norm": norm.item(),
                "train/learning_rate": self.optimizer.param_groups[0]["lr"],
                "speed/instances_per_second": self.config["batch_size"] / seconds,
            }
            | ({"train/baseline_loss": baseline_loss} if baseline_loss else {})
            | self.learner.baseline.scalars(),
        )

    def _save(self, name: str) -> None:
        try:
            check_weights(self.learner)
        except FloatingPointError as error:
            raise FloatingPointError(self._explained(error, self.progress.step)) from None
        policy, baseline = self.learner.policy, self.learner.baseline
        kept = policy_content(self.config, self._progress_now(), policy, self._provenance())
        content = kept | {
            "baseline": baseline.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "validating": vars(join(self._found)) if self._found else None,
        }
        previous = self.folder / "previous.pt" if name == "last.pt" else None
        save_checkpoint(self.folder / name, content, previous)
