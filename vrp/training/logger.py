"""What a run leaves to be looked at: metrics.csv, TensorBoard events, a progress bar."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from vrp.training.event_files import cut_event_files
from vrp.training.run_files import COLUMNS, Row, write_metrics
from vrp.training.settings import MAY_DIFFER

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunLogger:
    """Writes into one run folder; traces of an earlier piece from after `step` are cut.

    Args:
        folder: of the run.
        step: where the run resumes; None where it begins, and nothing is kept.
        instances: training instances so far.
        total: training instances in all, for the bar.
        progress: whether to show a bar, on a terminal.
    """

    def __init__(
        self, folder: Path, step: int | None, instances: int, total: int, progress: bool
    ) -> None:
        self._csv = folder / "metrics.csv"
        self._last: dict[str, str] = {}  # line of metrics.csv, by column
        if step is not None:
            cut_event_files(folder, step)
            self._cut_csv(step)
        else:
            for path in folder.glob("events.out.tfevents.*"):
                path.unlink()
            write_metrics(self._csv, [COLUMNS])
        self._writer = SummaryWriter(folder, flush_secs=10)
        self._bar = tqdm(
            total=total,
            initial=instances,
            unit="inst",
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.1,
            disable=None if progress else True,
        )
        self._shown = {"cost": "-"}

    def row(self, row: Row) -> None:
        """Add a line to metrics.csv, and say it where there is no bar.

        It takes the place of the last line if that is of the same step: where a run stopped, went
        on, and was validated before its next step.
        """
        values = row.texts()
        if self._last.get("step") == values["step"]:
            values["train_cost"] = values["train_cost"] or self._last["train_cost"]
            self._cut_csv(row.step - 1)
        self._last = values
        with open(self._csv, "a", newline="") as file:
            csv.writer(file).writerow(values.values())
        if row.val_cost is not None:
            self._shown["val"] = f"{row.val_cost:.3f}"
            if row.val_gap is not None:
                self._shown["gap"] = f"{row.val_gap:.2f}%"
        if self._bar.disable and row.val_cost is not None:
            gap = "" if row.val_gap is None else f"  gap {row.val_gap:.2f} %"
            train = "" if row.train_cost is None else f"  train {row.train_cost:.4f}"
            self.say(
                f"step {row.step:>7}  instances {row.instances:>9}  {row.seconds:7.0f} s"
                f"{train}  val {row.val_cost:.4f}{gap}"
            )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """TensorBoard scalars at a step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def figure(self, name: str, figure: Figure, step: int) -> None:
        """A TensorBoard picture at a step."""
        self._writer.add_figure(name, figure, step, close=False)

    def hyperparameters(self, config: dict) -> None:
        """The run's settings, so that the HPARAMS tab compares runs by gap and cost."""
        plain = {
            key: value if isinstance(value, (bool, int, float, str)) else str(value)
            for key, value in hyperparameters(config).items()
        }
        for summary in hparams(plain, {"val/gap": 0, "val/cost": 0}):
            self._writer.file_writer.add_summary(summary, 0)

    def advance(self, instances: int, cost: float) -> None:
        """Move the bar by the instances of one step."""
        self._shown["cost"] = f"{cost:.3f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(instances)

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text)

    def close(self) -> None:
        """Flush and close all."""
        self._bar.close()
        self._writer.close()

    def _cut_csv(self, step: int) -> None:
        with open(self._csv, newline="") as file:
            lines = list(csv.reader(file))
        names = lines[0]
        kept = [line for line in lines[1:] if len(line) == len(names) and int(line[0]) <= step]
        self._last = dict(zip(names, kept[-1], strict=True)) if kept else {}
        write_metrics(self._csv, [names, *kept])


# Keys that do not change what is learned.
_NOT_COMPARED = (MAY_DIFFER | {"name", "resume"}) - {"max_instances"}


def hyperparameters(config: dict) -> dict:
    """What runs are compared by: the choices by their class, then every other setting, flat."""
    compared = {
        key: value["_target_"].rpartition(".")[2]
        for key, value in config.items()
        if isinstance(value, dict) and "_target_" in value
    }
    compared |= {key: config[key] for key in ("seed", "learning_rate", "batch_size")}
    for key, value in config.items():
        if key in _NOT_COMPARED:
            continue
        parts = value if isinstance(value, dict) else {"": value}
        for name, setting in parts.items():
            if name != "_target_":
                compared[f"{key}.{name}" if name else key] = setting
    return compared
