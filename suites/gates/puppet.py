"""A process that does what the test says, one deed at a time: the program `puppet` (kernel/user/puppet)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.dwarf import Record
from keuos_hil.errors import WaitTimeout

_U64 = 1 << 64
#: How long a deed may take, in seconds of the target's pace.
_PATIENCE_S = 20.0


class Puppet:
    """One such process, started. A context manager: leaving it kills and drops the process.

    Args:
        core: where it lives.
        channels: its quota of them.
    """

    def __init__(self, agent: Agent, *, core: int = 0, channels: int | None = None) -> None:
        self.agent = agent
        self.process: Process = agent.spawn("puppet", core=core, channels=channels)
        self._command = self.process.elf.layouts.struct("puppet_command")
        self._answer = self.process.elf.layouts.struct("puppet_answer")
        self._turn = 0

    def __enter__(self) -> Puppet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self.process.pid

    def constant(self, name: str) -> int:
        """An enumerator."""
        return self.process.elf.layouts.constant(name)

    def address(self, symbol: str) -> int:
        """Where a variable of the program lies."""
        return self.process.elf.symbol(symbol).address

    def begin(self, op: str, *arguments: int, number: int = 0) -> None:
        """Start a deed and don't wait for its end."""
        self._turn += 1
        command = Record.of(self._command)
        command.op, command.number, command.turn = self.constant(f"PUPPET_{op.upper()}"), number, self._turn
        padded = [argument % _U64 for argument in arguments] + [0] * (6 - len(arguments))
        command.args = np.array(padded, dtype=np.uint64)
        self.process.write(self.address("command"), bytes(command))

    def answer(self) -> Any:
        """struct puppet_answer as it stands."""
        return Record.of(self._answer, self.process.read(self.address("answer"), self._answer.itemsize))

    def do(self, op: str, *arguments: int, number: int = 0) -> Any:
        """A whole deed; its struct puppet_answer."""
        self.begin(op, *arguments, number=number)
        return self.wait()

    def wait(self) -> Any:
        """Until the deed is done. Raises WaitTimeout if the puppet is not to be heard of, or has died over it."""
        clock = self.agent.console.clock
        deadline = clock() + _PATIENCE_S
        while (answer := self.answer()).turn != self._turn:
            info = self.process.info()
            if info.exit_reason or clock() >= deadline:
                raise WaitTimeout(f"puppet {self.pid} did not finish what it was told to do: {info}")
        return answer

    def wait_until_it_loops(self) -> Any:
        """Until a deed without an end has made some turns."""
        clock = self.agent.console.clock
        deadline = clock() + _PATIENCE_S
        while (answer := self.answer()).turns < 1:
            if clock() >= deadline:
                raise WaitTimeout(f"puppet {self.pid} does not get going: {self.process.info()}")
        return answer

    def ends(self) -> Exit:
        """How it dies of what it does now."""
        return self.process.wait_exit(_PATIENCE_S, quiet=0.05)

    def call(self, name: str, *arguments: int) -> int:
        """A system call by its name without prefix. Raises AssertionError if it is refused."""
        answer = self.do("syscall", *arguments, number=self.constant(f"KEUOS_SYS_{name.upper()}"))
        assert answer.value >= 0, f"{name}{arguments} of puppet {self.pid}: error {-answer.value}"
        return int(answer.value)

    def protections(self) -> frozenset[str]:
        """What the CPU has, as a program can see it: "nx", "smep", "smap", "umip"."""
        found = self.do("protections").value
        return frozenset(
            name for name in ("nx", "smep", "smap", "umip") if found & self.constant(f"PUPPET_HAS_{name.upper()}")
        )

    def accept(self) -> Record:
        """The next end of a channel that was bound to it: struct keuos_endpoint."""
        self.call("channel_accept", self.address("scratch"))
        dtype = self.process.elf.layouts.struct("keuos_endpoint")
        return Record.of(dtype, self.process.read(self.address("scratch"), dtype.itemsize))


def fill_words(count: int, seed: int) -> bytes:
    """What `fill` leaves in memory: `count` words (kernel/user/puppet/main.c)."""
    with np.errstate(over="ignore"):
        words = np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    return words.astype("<u8").tobytes()
