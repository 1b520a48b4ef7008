"""A process that is always ready to run and almost never does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from keuos_hil.plugins.program_clock import RunQueue

#: Ends with its parent.
_SPIN = """
import os
parent = os.getppid()
os.sched_setaffinity(0, [{core}])
{how}
print(flush=True)
while os.getppid() == parent: pass
"""
#: So long it has waited when a test gets it, which happens soon, and how often it is looked at.
_WAITED_S, _STARVES_S, _LOOK_S = 0.2, 30.0, 0.02
_YIELDS = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"


@contextmanager
def starved_process() -> Iterator[int]:
    """Its pid, while the block runs; another process keeps its core busy."""
    core = min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        for how in (_YIELDS, "pass"):
            command = [sys.executable, "-c", _SPIN.format(core=core, how=how)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            if how == _YIELDS:
                starved = process.pid
        queue, deadline = RunQueue(starved), time.monotonic() + _STARVES_S
        while queue.waited(time.monotonic()) < _WAITED_S:  # before that it uses up what it had saved
            assert time.monotonic() < deadline, "two processes of one core both run"
            time.sleep(_LOOK_S)
        yield starved
