"""Drives the client's core by the scripts of `tests/wire`, whose form its README tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from djwsbridge.client.actions import (
    Answered,
    CloseSocket,
    MessageFailed,
    MessageSent,
    OpenSocket,
    RenewToken,
    SendText,
    StateChange,
)
from djwsbridge.client.outbox import Draft
from djwsbridge.client.protocol import ClientProtocol
from djwsbridge.client.topics import RESET
from djwsbridge.protocol.errors import CommandError
from tests.servers import ROOT

__all__ = ["Driver", "load", "welcome"]

WIRE = ROOT / "tests" / "wire"


def load(name: str, key: str) -> list[Any]:
    """Return the vectors or scripts of one file."""
    content: dict[str, list[Any]] = json.loads(Path(WIRE / name).read_text())
    return content[key]


def welcome(topics: Mapping[str, Any]) -> dict[str, Any]:
    """Return what answers `connect`."""
    return {
        "connection_id": "c1",
        "user": {"id": 7, "name": "alice"},
        "heartbeat_ms": 25_000,
        "topics": topics,
    }


class Driver:
    """A client whose clock, luck, socket and server are a script's.

    Args:
        random: what the random source returns every time.
        cursors: what the client had before.
        renewable: whether it can get another credential.
        ignore: commands that are answered at once.
        options: further arguments of `ClientProtocol`.
    """

    def __init__(
        self,
        *,
        random: float = 0.5,
        cursors: Mapping[str, Any] | None = None,
        renewable: bool = True,
        ignore: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        self.core = ClientProtocol(
            random=lambda: random,
            cursors={name: tuple(cursor) for name, cursor in (cursors or {}).items()},
            is_renewable=renewable,
            **options,
        )
        self.now = 0.0
        # Whether pushes are taken out of the queue after each step.
        self.reads = True
        self._ignore = ignore
        # Commands without an answer.
        self._unanswered: list[dict[str, Any]] = []
        self._seen: dict[str, list[Any]] = {}
        # Answers to the application's own commands, by key.
        self.answers: dict[int, Any] = {}
        self.renewals = 0

    def go_online(self, topics: Mapping[str, Any] | None = None) -> Driver:
        """Connect; what happens on the way is not compared."""
        self.give({"do": "start"})
        self.give({"socket": "open"})
        self.give({"reply": "connect", "topics": topics or {}})
        return self

    def give(self, step: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Carry out one step and return what the client did about it."""
        self._seen = {}
        kind = next(key for key in ("do", "at", "socket", "reply", "push", "frame") if key in step)
        getattr(self, f"_give_{kind}")(step)
        self._collect()
        if self.reads:
            self.read()
        return self._seen

    def expect(self, step: Mapping[str, Any]) -> None:
        """Carry out one step and compare what the client did with what the step expects."""
        seen, expected = self.give(step), step["expect"]
        assert seen.keys() == expected.keys(), (step, seen)
        for key, wanted in expected.items():
            assert len(seen[key]) == len(wanted), (step, seen)
            for got, want in zip(seen[key], wanted, strict=True):
                assert got == want or (isinstance(want, dict) and {**got, **want} == got), (
                    step,
                    got,
                )

    def read(self) -> None:
        """Take everything out of the queue."""
        while (push := self.core.take_push(now=self.now)) is not None:
            if push.type == RESET:
                self._note("resets", {"topic": push.topic, **push.data})
            else:
                frame = {"push": push.type, "topic": push.topic, "seq": push.seq, "data": push.data}
                self._note("pushes", frame)
            self._collect()

    # -- what a step gives -----------------------------------------------------------------------------------------

    def _give_do(self, step: Mapping[str, Any]) -> None:
        if step["do"] == "start":
            self.core.start(now=self.now)
        elif step["do"] == "stop":
            self.core.stop(now=self.now)
        elif step["do"] == "subscribe":
            self.core.request(0, "subscribe", {"topic": step["topic"]}, now=self.now)
        else:
            draft = Draft(step["client_message_id"], step["room"], step["body"])
            self.core.send_message(draft, now=self.now)

    def _give_at(self, step: Mapping[str, Any]) -> None:
        end = step["at"] / 1000
        while (deadline := self.core.deadline) is not None and deadline <= end + 1e-6:
            self.now = max(self.now, deadline)
            self.core.tick(now=self.now)
            self._collect()
        self.now = end

    def _give_socket(self, step: Mapping[str, Any]) -> None:
        if step["socket"] == "open":
            self.core.opened({}, now=self.now)
        else:
            self._unanswered.clear()
            self.core.closed(step.get("code"), now=self.now)

    def _give_reply(self, step: Mapping[str, Any]) -> None:
        message = step.get("message")
        command = next(
            each
            for each in self._unanswered
            if each["cmd"] == step["reply"]
            and (message is None or each["client_message_id"] == message["client_message_id"])
        )
        self._unanswered.remove(command)
        answer: dict[str, Any] = {"id": command["id"]}
        if "error" in step:
            answer["error"] = step["error"]
        elif message is not None:
            author = {"id": 7, "name": "alice"}
            answer["ok"] = {"sender": author, "created": "2026-01-02T03:04:05Z", **message}
        else:
            answer["ok"] = welcome(step["topics"]) if "topics" in step else step["ok"]
        self._receive(answer)

    def _give_push(self, step: Mapping[str, Any]) -> None:
        self._receive(step["push"])

    def _give_frame(self, step: Mapping[str, Any]) -> None:
        self.core.receive(step["frame"], now=self.now)

    def _receive(self, frame: Mapping[str, Any]) -> None:
        self.core.receive(json.dumps(frame), now=self.now)

    # -- what the client does --------------------------------------------------------------------------------------

    def _note(self, kind: str, value: Any) -> None:
        self._seen.setdefault(kind, []).append(value)

    def _collect(self) -> None:
        for action in self.core.take_actions():
            if isinstance(action, SendText):
                self._take_command(json.loads(action.text))
            elif isinstance(action, StateChange):
                self._take_state(action)
            elif isinstance(action, OpenSocket):
                self._note("sockets", "open fresh" if action.fresh else "open")
            elif isinstance(action, CloseSocket):
                self._unanswered.clear()
                self._note("sockets", "close")
            elif isinstance(action, MessageSent):
                sent = {"client_message_id": action.client_message_id, "seq": action.message.seq}
                self._note("sent", sent)
            elif isinstance(action, MessageFailed):
                code = action.error.code.value if isinstance(action.error, CommandError) else None
                failed = {"client_message_id": action.client_message_id, "code": code}
                self._note("failed", failed)
            elif isinstance(action, Answered):
                self.answers[action.key] = action.result
            elif isinstance(action, RenewToken):
                self.renewals += 1

    def _take_command(self, command: dict[str, Any]) -> None:
        if command["cmd"] in self._ignore:
            self._receive({"id": command["id"], "ok": {}})
            self._collect()
            return
        self._unanswered.append(command)
        self._note("commands", {key: value for key, value in command.items() if key != "id"})

    def _take_state(self, change: StateChange) -> None:
        state: dict[str, Any] = {
            "state": change.state.value,
            "close_code": change.close_code,
            "reason": change.reason,
            "message": change.message,
        }
        if change.delay is not None:
            state["delay_ms"] = round(change.delay * 1000)
        self._note("states", state)
