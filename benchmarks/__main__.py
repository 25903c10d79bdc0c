"""Run the benchmarks: `python -m benchmarks QUESTION`, or `all`."""

from __future__ import annotations

import argparse
import importlib
import resource
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from benchmarks import simulate, summary
from benchmarks.harness.results import RESULTS, say
from benchmarks.harness.rounds import Options, options_of
from benchmarks.harness.world import Worlds
from benchmarks.profile import profile
from benchmarks.systems import system_names

QUESTIONS = {
    "fanout": "one message to all members of a room, as fast as it goes",
    "unicast": "users write to each other; nothing is stored",
    "latency": "one message to 1,000 members at a fixed rate",
    "connect": "handshakes with a token, and the memory of a connection",
    "workers": "several processes with Redis between them",
    "presence": "what a process pays for knowing who is online on the others",
    "persist": "stored, then delivered, on SQLite and PostgreSQL",
    "history": "pages of a room of 100,000 messages over REST",
    "recovery": "10,000 clients come back after a restart",
    "idle": "50,000 connections, a room of 10,000 among them",
}


# What is profiled after everything was measured.
PROFILED = ("1,000 members", "50 x 100", "64 senders")


def answer(questions: list[str], options: Options, worlds: Worlds) -> None:
    """Answer questions one after the other."""
    if questions[0] == "profile":
        profile(questions[1:] or ["fanout", "unicast", "persist"], options, worlds)
        return
    for name in QUESTIONS if "all" in questions else questions:
        say(f"{name}: {QUESTIONS[name]}")
        try:
            importlib.import_module(f"benchmarks.{name}").run(options, worlds)
        except RuntimeError as error:
            if options.smoke:
                raise
            say(f"  no answer: {error}")  # the other questions have theirs
    if "all" in questions and not options.smoke:
        profile(["fanout", "unicast", "persist"], replace(options, cases=PROFILED), worlds)


def main() -> None:
    """Read the command line and answer the questions."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure djwsbridge beside its peers.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="`profile fanout unicast persist` says where our server's time goes.\n\nquestions:\n"
        + "\n".join(f"  {name:<10} {text}" for name, text in QUESTIONS.items()),
    )
    parser.add_argument(
        "questions", nargs="+", choices=[*QUESTIONS, "all", "profile"], metavar="QUESTION"
    )
    parser.add_argument("--rounds", type=int, default=3, help="launches of every system (3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured in each launch (5)")
    parser.add_argument(
        "--systems", nargs="+", choices=system_names(), help="only these, instead of all"
    )
    parser.add_argument("--cases", nargs="+", help="only those whose name holds one of these")
    parser.add_argument("--smoke", action="store_true", help="small and short: does it work?")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where results are written")
    parsed = parser.parse_args()
    options = options_of(parsed)
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # every connection is an open file
    with closing(Worlds()) as worlds:
        answer(parsed.questions, options, worlds)
    summary.write(options.output)
    if options.output == RESULTS and not options.smoke:
        write_scaling()


def write_scaling() -> None:
    """Compute the tables of docs/explanation/scaling.md again, once all of its costs were measured."""
    try:
        costs = simulate.read_costs()
    except (FileNotFoundError, LookupError) as error:
        say(f"docs/explanation/scaling.md stays as it is: not everything was measured ({error})")
    else:
        simulate.write(simulate.render(costs))


if __name__ == "__main__":
    main()
