"""Judge a history: was anything lost, doubled, reordered, shown wrongly? In the manner of Jepsen.

The checks are in `checks.py`; this module gathers what they find, and says when nothing can be said.
"""

from __future__ import annotations

import enum
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from djwsbridge.testing.checks import CHECKS, Facts
from djwsbridge.testing.history import (
    Away,
    Fault,
    History,
    Opened,
    Outcome,
    Row,
    Send,
    Shown,
)

__all__ = ["Figures", "State", "Verdict", "Violation", "judge", "measure"]

REVOCATION_GRACE = 2.0  # seconds in which a removed member may still be reached (P18)
EXAMPLES = 5  # sentences kept of one check; the rest is counted


class State(str, enum.Enum):
    """What a verdict says; `unknown` counts as failed."""

    VALID = "valid"
    INVALID = "invalid"
    UNKNOWN = "unknown"


class Violation(msgspec.Struct, frozen=True):
    """A check that found something: how often, and some examples."""

    check: str
    count: int
    examples: list[str]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was like; times in seconds.

    Attributes:
        sent: messages that devices were asked to send.
        acked: those that were acknowledged.
        refused: those that were refused.
        unknown: those without an answer.
        stored: messages in the end.
        shown: appearances in the lists of all devices.
        faults: what was really done to the system.
        ack: from asking to the answer, worst and 99th percentile.
        delivery: from the acknowledgement, or the reader's coming if that is later, to each appearance elsewhere.
        recovery: from asking, or the end of the last fault meanwhile, to the answer, of sends that had to wait for it.
        away: from a lost connection, or the end of the last fault meanwhile, to being online again.
    """

    sent: int
    acked: int
    refused: int
    unknown: int
    stored: int
    shown: int
    faults: int
    ack: dict[str, float]
    delivery: dict[str, float]
    recovery: dict[str, float]
    away: dict[str, float]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one history."""

    state: State
    violations: list[Violation]
    # Why nothing can be said, when the state is unknown.
    reasons: list[str]
    figures: Figures

    def __str__(self) -> str:
        lines = [self.state.value, *self.reasons]
        for violation in self.violations:
            lines.append(f"{violation.check}: {violation.count} times")
            lines.extend(f"  {example}" for example in violation.examples)
        return "\n".join(lines)


def judge(
    history: History,
    *,
    min_acks: int = 5_000,
    min_faults: int = 3,
    revocation_grace: float = REVOCATION_GRACE,
) -> Verdict:
    """Judge a history.

    Args:
        history: of a run that has settled, with the rows as they are stored in the end.
        min_acks: with fewer acknowledged sends nothing can be said.
        min_faults: with fewer faults that really happened nothing can be said.
        revocation_grace: seconds in which a removed member may still be reached.
    """
    figures = measure(history)
    facts = Facts(history, revocation_grace)
    violations = []
    for name, check in CHECKS.items():
        found = check(facts)
        examples = list(itertools.islice(found, EXAMPLES))
        if examples:
            violations.append(Violation(name, len(examples) + sum(1 for _ in found), examples))
    reasons = []
    if figures.acked < min_acks:
        reasons.append(f"Only {figures.acked} sends were acknowledged; {min_acks} are needed.")
    if figures.faults < min_faults:
        reasons.append(f"Only {figures.faults} faults happened; {min_faults} are needed.")
    state = State.INVALID if violations else State.UNKNOWN if reasons else State.VALID
    return Verdict(state=state, violations=violations, reasons=reasons, figures=figures)


def measure(history: History) -> Figures:
    """Count and time what is in a history."""
    sends = list(history.of(Send))
    outcomes = Counter(send.outcome for send in sends)
    acked_at = {
        send.id: send.completed
        for send in sends
        if send.outcome is Outcome.OK and send.completed is not None
    }
    shown = list(history.of(Shown))
    return Figures(
        sent=len(sends),
        acked=outcomes[Outcome.OK],
        refused=outcomes[Outcome.FAIL],
        unknown=outcomes[Outcome.UNKNOWN],
        stored=sum(1 for row in history.of(Row) if row.id is not None),
        shown=len(shown),
        faults=sum(1 for _ in history.of(Fault)),
        ack=_percentiles(
            send.completed - send.invoked for send in sends if send.completed is not None
        ),
        delivery=_percentiles(_deliveries(history, acked_at)),
        recovery=_percentiles(_recoveries(history)),
        away=_percentiles(_absences(history)),
    )


def _deliveries(history: History, acked_at: Mapping[str, float]) -> Iterator[float]:
    """Yield how long each acknowledged message took to a reader who was there."""
    returned: dict[str, float] = {}
    for record in history.records:
        if isinstance(record, Away) and record.back is not None:
            returned[record.device] = record.back
        elif isinstance(record, Opened):  # what is older is loaded
            returned[record.device] = record.at
        elif isinstance(record, Shown) and record.id in acked_at:
            since = max(acked_at[record.id], returned.get(record.device, 0.0))
            yield max(0.0, record.at - since)


def _recoveries(history: History) -> Iterator[float]:
    """Yield how long each send took that was under way when a fault ended."""
    ends = [fault.until for fault in history.of(Fault)]
    for send in history.of(Send):
        if send.completed is not None:
            during = [end for end in ends if send.invoked <= end <= send.completed]
            if during:
                yield send.completed - max(during)


def _absences(history: History) -> Iterator[float]:
    """Yield how long each device took to come back when it could."""
    ends = [fault.until for fault in history.of(Fault)]
    for away in history.of(Away):
        if away.back is not None:
            possible = (end for end in ends if away.lost <= end <= away.back)
            yield away.back - max(possible, default=away.lost)


def _percentiles(values: Iterable[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]
    top = len(ordered) - 1
    return {
        "p50": ordered[round(top * 0.5)],
        "p99": ordered[round(top * 0.99)],
        "max": ordered[top],
    }
