"""Requests over a line that damages, loses and doubles frames, each carried out at most once.

The client sends one request at a time and repeats it until its reply comes; the agent answers a repetition with the
reply that it kept. Time-outs are in the console's clock, so that a target which its host starved is not called dead.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ..console import Console
from ..errors import Ended, ProtocolViolation, Refused, Silent, WaitTimeout
from .frames import Message, encode

#: A request is repeated after this silence, on top of what its bytes take on the line.
REPEAT_S = 0.25
#: Silence after which an agent counts as dead, in the target's pace; and to a mere ping, which costs it nothing.
SILENCE_S = 2.0
PING_SILENCE_S = 1.0
#: An agent says once that it has booted; what is sent to it earlier is lost or typed at its prompt.
BOOT_EVENT_S = 3.0
#: A target may take so long to boot before the first answer; a panic or an exit ends the wait at once.
HELLO_S = 30.0
#: Bytes that a reply may have on the line, for the patience with a slow one.
_REPLY_BYTES = 4200
#: Damaged replies and those to earlier requests are a sign of life, and put the end of patience off; so many times at
#: most.
SIGNS_MAX = 20


class Client:
    """The host's end of the protocol on one console. Safe to use from several threads; requests take turns.

    Args:
        console: the line. The client becomes its sink for frames.
        error_name: the enumerator of an error code, or "" if it has none.
    """

    def __init__(self, console: Console, error_name: Callable[[int], str] = lambda code: "") -> None:
        self._console = console
        self._error_name = error_name
        self._turn = threading.Lock()
        self._id = 0
        self._waiting: int | None = None
        self._nonce = 0
        self._reply: Message | None = None
        self._late = 0
        self._events: deque[Message] = deque(maxlen=4096)
        self.repeats = 0
        console.on_frame(self._take)

    def _take(self, message: Message) -> None:
        if "event" in message:
            self._events.append(message)
        elif message.get("id") == self._waiting and self._waiting is not None and self._reply is None:
            if self._waiting != 0 or not message.get("ok") or message.get("nonce") == self._nonce:
                self._reply = message
        else:
            self._late += 1

    def hello(self, timeout: float = HELLO_S) -> Message:
        """Start a session, waiting for the target to boot if need be; the agent's `protocol` and `agent`.

        Raises:
            Silent: nobody answered within `timeout` seconds of the target's pace.
        """
        # The event may have been lost, or sent before this host listened: then it is tried all the same.
        if self._console.boots:
            self._console.wait_for(self._boot_event, min(BOOT_EVENT_S, timeout / 2))
        with self._turn:
            self._nonce = int.from_bytes(os.urandom(4), "little")
            reply = self._exchange({"id": 0, "op": "hello", "nonce": self._nonce}, timeout)
            self._id = 0
        if reply.get("protocol") != 1:
            raise ProtocolViolation(f"this host speaks protocol 1; the agent answered hello with {_shown(reply)}")
        return reply

    def _boot_event(self) -> bool | None:
        return any(event.get("event") == "boot" for event in self._events) or None

    def request(self, op: str, timeout: float | None = None, /, **arguments: Any) -> Message:
        """Carry out one operation; the reply's results.

        Args:
            timeout: seconds until the agent counts as silent; None for the default.

        Raises:
            Refused: the agent answered with an error.
            Silent: it answered nothing.
            Ended: the target ended.
        """
        __tracebackhide__ = True
        with self._turn:
            self._id += 1
            message = {"id": self._id, "op": op} | {k: v for k, v in arguments.items() if v is not None}
            return self._exchange(message, SILENCE_S if timeout is None else timeout)

    def _exchange(self, message: Message, patience: float) -> Message:
        __tracebackhide__ = True
        console, op = self._console, message["op"]
        frame = encode(message)
        line_s = (len(frame) + _REPLY_BYTES) * console.byte_seconds
        with console.condition:
            self._waiting, self._reply = message["id"], None
        deadline = console.clock() + patience + 2 * line_s
        sends = 0
        last_chance = False
        signs, put_off = self._signs, 0
        mark = console.mark()
        try:
            while True:
                console.write(frame)
                sends += 1
                self.repeats += sends > 1
                reply = self._wait_reply(REPEAT_S + line_s, deadline)
                if reply is not None:
                    break
                if self._signs != signs and put_off < SIGNS_MAX:
                    signs, put_off = self._signs, put_off + 1
                    deadline = max(deadline, console.clock() + patience + 2 * line_s)
                if console.clock() >= deadline:
                    if last_chance:
                        raise Silent(
                            f"no answer to {op!r} within {patience:g} s, asked {sends} times.\n"
                            f"{console.describe(since=mark)}"
                        )
                    # This process may itself have been the one without processor time: once more, whatever it is.
                    last_chance = True
                    deadline = console.clock() + REPEAT_S + line_s
        except Ended as end:
            if not isinstance(end, Silent):
                end.add_note(f"while waiting for the agent's answer to {op!r}")
            elif op != "hello":  # whoever says hello may only be asking whether there is an agent
                console.interrupt(end)
            raise
        finally:
            with console.condition:
                self._waiting = None
        if reply.get("ok") is True:
            return reply
        if reply.get("ok") is False and isinstance(reply.get("code"), int):
            code = reply["code"]
            raise Refused(op, code, str(reply.get("text", "")), self._error_name(code))
        raise ProtocolViolation(f'a reply has "ok", and "code" if that is false; to {op!r} came {_shown(reply)}')

    @property
    def _signs(self) -> int:
        """How much has come that is no answer to what was asked, and shows that somebody answers."""
        return self._console.damaged_frames + self._late

    def _wait_reply(self, silence_s: float, deadline: float) -> Message | None:
        """The reply; None when it has to be asked for again: what came was damaged, or the line was silent for so long.

        A reply that is under way is not asked for again.
        """
        __tracebackhide__ = True
        console = self._console
        damaged = console.damaged_frames

        def ready() -> Message | None:
            return self._reply or ({} if console.damaged_frames != damaged else None)

        while True:
            reply = console.wait_for(ready, min(silence_s, max(deadline - console.clock(), 0.01)))
            if reply is not None:
                return reply or None
            if console.clock() >= deadline or time.monotonic() - console.last_byte >= silence_s:
                return None

    def event(self, accept: Callable[[Message], bool], timeout: float) -> Message:
        """Take the first event that `accept` likes out of the queue, waiting for it at most `timeout` seconds.

        Raises:
            WaitTimeout: none came. An event may be lost on the line: ask the agent before you believe it.
        """

        def find() -> Message | None:
            for event in self._events:
                if accept(event):
                    self._events.remove(event)
                    return event
            return None

        found = self._console.wait_for(find, timeout)
        if found is None:
            raise WaitTimeout(f"no such event within {timeout:g} s.\n{self._console.describe()}")
        return found

    def pending_events(self) -> list[Message]:
        """The events that nobody has taken yet, oldest first; they are taken now."""
        with self._console.condition:
            events = list(self._events)
            self._events.clear()
        return events


def _shown(message: Message) -> str:
    text = repr(message)
    return text if len(text) <= 300 else text[:300] + "..."
