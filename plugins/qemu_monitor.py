"""QEMU's control socket (QMP), for callers that are not asynchronous."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, QMPClient
from qemu.qmp.error import QMPError

from keuos_hil.errors import InfraError

T = TypeVar("T")

# The end of a connection is told to the session by the process's own exit, and by nothing else.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class _LoopThread:
    """One event loop for all monitors of this process, on a thread of its own, started when first needed."""

    _lock = threading.Lock()
    _loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def run(cls, work: Coroutine[Any, Any, T], timeout: float) -> T:
        with cls._lock:
            if cls._loop is None:
                cls._loop = asyncio.new_event_loop()
                threading.Thread(target=cls._loop.run_forever, name="keuos-hil qmp", daemon=True).start()
        future = asyncio.run_coroutine_threadsafe(work, cls._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise


class Monitor:
    """A QMP connection over one end of an inherited socket pair.

    Args:
        end: this side's socket; the monitor closes it.
        on_event: called with each event's name and data, on the loop's thread: it must not call the monitor.
    """

    def __init__(self, end: socket.socket, on_event: Callable[[str, dict[str, Any]], None]) -> None:
        self._end = end
        self._client = QMPClient("keuos-hil")
        self._on_event = on_event
        self._listener = EventListener()
        self._events: asyncio.Task[None] | None = None

    def connect(self, timeout: float) -> None:
        """Greet QEMU. Raises InfraError if it doesn't answer within `timeout` seconds."""
        self._call("greeting", self._connect(), timeout)

    async def _connect(self) -> None:
        self._client.register_listener(self._listener)
        await self._client.connect(self._end)
        self._events = asyncio.get_running_loop().create_task(self._pump())

    async def _pump(self) -> None:
        async for event in self._listener:
            data: Any = event.get("data") or {}
            self._on_event(str(event["event"]), dict(data))

    def execute(self, command: str, timeout: float = 10.0, **arguments: Any) -> Any:
        """Run a QMP command and return what it returns. Raises InfraError if it fails or QEMU is gone."""
        return self._call(command, self._client.execute(command, arguments or None), timeout)

    def human(self, command: str, timeout: float = 10.0) -> str:
        """Run a command of the human monitor and return its text."""
        return str(self.execute("human-monitor-command", timeout, **{"command-line": command}))

    def _call(self, what: str, work: Coroutine[Any, Any, T], timeout: float) -> T:
        try:
            return _LoopThread.run(work, timeout)
        except TimeoutError:
            raise InfraError(f"QEMU did not answer {what!r} on its control socket within {timeout:g} s") from None
        except (QMPError, OSError, EOFError, asyncio.CancelledError) as error:
            raise InfraError(
                f"QEMU's control socket failed at {what!r}: {str(error) or type(error).__name__}"
            ) from error

    def close(self) -> None:
        """Drop the connection. Safe to repeat."""
        try:
            _LoopThread.run(self._disconnect(), 5.0)
        except (TimeoutError, QMPError, OSError, EOFError, asyncio.CancelledError):
            pass
        self._end.close()

    async def _disconnect(self) -> None:
        if self._events is not None:
            self._events.cancel()
        await self._client.disconnect()
