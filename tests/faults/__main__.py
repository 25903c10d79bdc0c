"""Run faults by hand: `python -m tests.faults 1 26 --system sqlite --harm 15`."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import fields
from pathlib import Path

from tests.faults.faults import FAULTS
from tests.faults.rig import Plan, run


def main() -> int:
    """Run what the command line names; the exit status says whether everything held."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="fault", help="numbers; all unless told")
    parser.add_argument("--system", default="sqlite")
    parser.add_argument("--directory", type=Path, default=Path("artifacts/faults"))
    for option in fields(Plan)[2:]:
        default = option.default
        parser.add_argument(
            f"--{option.name.replace('_', '-')}", type=type(default), default=default
        )
    given = vars(parser.parse_args())
    keys = given.pop("faults") or [k for k, f in FAULTS.items() if given["system"] in f.systems]
    directory = given.pop("directory")
    held = True
    for key in keys:
        result = run(Plan(fault=key, **given), directory / f"{key}-{given['system']}")
        print(result, flush=True)  # noqa: T201
        held = held and result.ok
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
