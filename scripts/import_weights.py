"""Make published weights a checkpoint: `python scripts/import_weights.py FILE NAME -C 20`.

Knows three layouts of CVRP networks: that of Kool et al. (2019), that of POMO's notebooks (Kwon et
al. 2020; OLD_ipynb_ver, the code of the paper), and that of POMO's later code (NEW_py_ver). Nothing
in the file is executed, and no checkpoint is overwritten.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # `python scripts/import_weights.py` puts only scripts/ there
    sys.path.insert(0, str(ROOT))

from scripts.arguments import whole  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Write OUTPUT/NAME/model.pt, and print how to measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a .pt file in one of these layouts")
    parser.add_argument("name", help="of the checkpoint that is written")
    parser.add_argument(
        "-C",
        "--customers",
        type=whole(1),
        required=True,
        help="it was trained on instances of this size",
    )
    parser.add_argument(
        "--capacity", type=whole(1), help="of the vehicle; that of the papers if left out"
    )
    parser.add_argument("--heads", type=whole(1), default=8, help="of a POMO network (default: 8)")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="default: outputs")
    options = parser.parse_args(arguments)
    try:
        folder = write(options)
    except (OSError, ValueError) as error:
        print(f"not imported: {error}", file=sys.stderr)
        return 2
    print(f"written:       {folder / 'model.pt'}")
    data = data_to_measure(options)
    print(
        f"to measure:    python scripts/evaluate.py checkpoint={folder} data={data} decode=augment"
    )
    return 0


def data_to_measure(options: argparse.Namespace) -> str:
    """The standard set of that size and vehicle, or FILE where there is none."""
    from vrp.problem.datasets import CAPACITY

    known = CAPACITY.get(options.customers)
    is_standard = known is not None and options.capacity in (None, known)
    return f"kool{options.customers}" if is_standard else "FILE"


def write(options: argparse.Namespace) -> Path:
    """Convert and write; the folder.

    Raises:
        OSError, ValueError: if the file cannot be read or is something else, or if the checkpoint
            exists.
    """
    from vrp.policy.foreign import convert, read_state_dict
    from vrp.problem.datasets import CAPACITY
    from vrp.training.build import build_policy
    from vrp.training.checkpoint import save_checkpoint

    capacity = options.capacity or CAPACITY.get(options.customers)
    if capacity is None:
        raise ValueError(f"the papers have no instances of {options.customers} customers; "
                         "give --capacity")  # fmt: skip
    path = options.output / options.name / "model.pt"
    if path.exists():
        raise ValueError(f"{path} exists; choose another name, or remove it")
    found = convert(read_state_dict(options.file), options.heads)
    config = {
        "problem": {
            "_target_": "vrp.problem.UniformGenerator",
            "num_customers": options.customers,
            "capacity": capacity,
            "min_demand": 1,
            "max_demand": 9,  # of both papers
            "split_delivery": False,  # Kool et al.'s network for it has a layout of its own
        },
        "encoder": {
            "_target_": "vrp.policy.encoders.LinearEncoder",
            "embedding_dim": found.arguments["embedding_dim"],
        },
        "policy": {"_target_": "vrp.policy.AttentionPolicy", **found.arguments},
        "multistart": found.multistart,
    }
    policy = build_policy(config)
    policy.load_state_dict(found.weights)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, {"config": config, "policy": policy.state_dict()})
    return path.parent


if __name__ == "__main__":
    sys.exit(main())
