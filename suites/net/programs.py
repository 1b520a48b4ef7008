"""nic_probe and nic_rogue as Python objects: an honest driver and a hostile one, both driven by their variables."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from keuos_hil.agent import Agent, Process
from keuos_hil.dwarf import Record
from keuos_hil.errors import TargetFailure
from keuos_hil.net.netd import Netd

#: Ethernet's type for experiments (IEEE 802, 9.2.3): no stack answers to it.
EXPERIMENT = 0x88B5
HOST = bytes.fromhex("020000000001")
#: Vendor and product of the NIC that nic_rogue drives: virtio-net.
VIRTIO_NET = (0x1AF4, 0x1041)
#: A step of a program, in seconds of the host's clock: generous, since it only tells a hang.
STEP_S = 20.0
_T = TypeVar("_T")


def frame_of(to: bytes, payload: bytes, sender: bytes = HOST) -> bytes:
    """An Ethernet frame of the experimental type."""
    return to + sender + EXPERIMENT.to_bytes(2, "big") + payload


def nic_number(agent: Agent) -> int:
    """The number of the target's NIC among its devices. Raises TargetFailure if the kernel lists none."""
    for device in agent.devices():
        if device.class_code >> 16 == 2:
            return int(device.device)
    raise TargetFailure("the kernel lists no network device among its PCI functions")


def device_of(agent: Agent, number: int) -> Record:
    """What the kernel says now of a device."""
    return agent.devices()[number - 1]


def until(what: str, ask: Callable[[], _T], done: Callable[[_T], bool], timeout: float = STEP_S) -> _T:
    """Ask until the answer is the one wanted. Raises TargetFailure with the last one when time is up."""
    deadline = time.monotonic() + timeout
    while True:
        answer = ask()
        if done(answer):
            return answer
        if time.monotonic() >= deadline:
            raise TargetFailure(f"expected {what} within {timeout:g} s; last seen: {answer}")
        time.sleep(0.005)


class _NicProgram:
    """A process that has the NIC's capability."""

    def __init__(self, agent: Agent, program: str, *, pages: int = 2048) -> None:
        self.agent = agent
        self.nic = nic_number(agent)
        self.process: Process = agent.spawn(program, suspended=True, pages=pages)
        rights = agent.image.constant("KEUOS_RIGHT_READ") | agent.image.constant("KEUOS_RIGHT_CONTROL")
        self.capability = agent.grant_device(self.process, self.nic, rights)

    @property
    def results(self) -> Any:
        """Its results as they are now."""
        return self.process.read_struct("results")

    def constant(self, name: str) -> int:
        """An enumerator of the program."""
        return self.process.elf.layouts.constant(name)

    def set(self, **fields: int) -> None:
        """Change fields of its params."""
        self.process.write_struct("params", **fields)


class Probe(_NicProgram):
    """nic_probe: frames in and out by netd's driver, nothing above it."""

    def __init__(self, agent: Agent, **params: int) -> None:
        super().__init__(agent, "nic_probe")
        if params:
            self.set(**params)
        self._sends = self._restarts = 0
        self.process.start()
        self.wait_running()

    def wait_running(self) -> None:
        """Until the driver is up. Raises TargetFailure with what kept it."""
        running = self.constant("NIC_PROBE_RUNNING")
        results = until(
            "nic_probe to run", lambda: self.results, lambda r: r.stage == running or r.error < 0 or r.fault
        )
        if results.stage != running:
            raise TargetFailure(f"nic_probe did not come up: error {results.error}, fault {results.fault}")

    @property
    def mac(self) -> bytes:
        """The NIC's address, as the driver read it."""
        return bytes(self.results.mac)

    def send(self, frame: bytes, copies: int = 1) -> None:
        """Have it put a frame on the wire; returns when the driver has taken all copies."""
        self.process.write(self.process.variables.address("frame_out"), frame)
        self._sends += 1
        self.set(send_bytes=len(frame), copies=copies)
        self.set(send=self._sends)
        until("the frame to be sent", lambda: self.results.sent, lambda sent: sent == self._sends)

    def restart(self) -> None:
        """Have it reset the function and start over."""
        self._restarts += 1
        self.set(restart=self._restarts)
        until("the driver to restart", lambda: self.results.restarted, lambda n: n == self._restarts)
        self.wait_running()

    def wait_received(self, count: int) -> Any:
        """Until it has received so many frames."""
        return until(f"{count} frames to be received", lambda: self.results, lambda r: r.received >= count)

    def frame(self, number: int) -> bytes:
        """Received frame `number`, one of the newest 64."""
        one = self.process.variables.read_element("frames_in", number % self.constant("NIC_PROBE_FRAMES"))
        return bytes(one.data)[: one.bytes]


class Rogue(_NicProgram):
    """nic_rogue: has the device read and write wherever it is told. Skips where the NIC is not virtio's."""

    def __init__(self, agent: Agent) -> None:
        nic = device_of(agent, nic_number(agent))
        if (nic.vendor, nic.product) != VIRTIO_NET:
            pytest.skip(f"the hostile driver drives virtio-net only; this NIC is {nic.vendor:04x}:{nic.product:04x}")
        super().__init__(agent, "nic_rogue")
        self._steps = 0
        self.process.start()

    def step(self, operation: str, **params: int) -> Any:
        """Carry out one operation (enum nic_rogue_operation without prefix); the results behind it."""
        self._steps += 1
        code = self.constant(f"NIC_ROGUE_{operation.upper()}")
        self.set(operation=code, **params)
        self.set(step=self._steps)
        return until(f"the step {operation}", lambda: self.results, lambda r: r.step == self._steps)

    def open(self) -> None:
        """Claim the NIC and set its queues up. Raises TargetFailure with the error."""
        results = self.step("open")
        if results.value < 0 or results.fault:
            raise TargetFailure(f"nic_rogue could not open the NIC: error {results.value}, fault {results.fault}")

    def reset(self) -> None:
        """The function reset, the queues set up anew."""
        results = self.step("reset")
        if results.value < 0 or results.fault:
            raise TargetFailure(f"nic_rogue could not reset the NIC: error {results.value}, fault {results.fault}")

    def call(self, name: str, *arguments: int) -> int:
        """A system call (an enum keuos_syscall without prefix); its first result."""
        number = self.constant("KEUOS_SYS_" + name.upper())
        filled = [argument % 2**64 for argument in arguments] + [0] * (6 - len(arguments))
        params = self.process.read_struct("params")
        params.args[:] = filled
        self.process.write_struct("params", params)
        return int(self.step("call", number=number).value)

    def poke(self, address: int) -> None:
        """Have it write to an address of its own, which may be its end."""
        params = self.process.read_struct("params")
        params.args[:] = [address, 0, 0, 0, 0, 0]
        params.operation = self.constant("NIC_ROGUE_POKE")
        self._steps += 1
        params.step = self._steps
        self.process.write_struct("params", params)

    def peek(self, address: int) -> int:
        """The four bytes at an address of its own, as the program reads them: a register's, maybe."""
        params = self.process.read_struct("params")
        params.args[:] = [address, 0, 0, 0, 0, 0]
        self.process.write_struct("params", params)
        return int(self.step("peek").value)

    def good(self, name: str, *arguments: int) -> int:
        """A system call that has to succeed; its first result."""
        value = self.call(name, *arguments)
        if value < 0:
            error = self.agent.name_of("keuos_error", "KEUOS_", -value)
            raise TargetFailure(f"{name}{tuple(hex(a) for a in arguments)} answered {error}")
        return value

    def refused(self, name: str, *arguments: int) -> str:
        """The same, and it has to fail: with which error, as in "einval"."""
        value = self.call(name, *arguments)
        if value >= 0:
            raise TargetFailure(f"{name} with {arguments} was to fail and gave {value:#x}")
        return self.agent.name_of("keuos_error", "KEUOS_", -value)

    def post(self, queue: str, iova: int, size: int, *, wait_ns: int = 20_000_000, repeat: int = 1) -> Any:
        """One descriptor, `repeat` times, and what the device did with it within `wait_ns` of target time each."""
        return self.step("post", **self._posting(queue, iova, size, wait_ns), repeat=repeat)

    def receive_into(
        self, iova: int, size: int, put: Callable[[], None], *, piece: tuple[int, int, int] = (0, 0, 0)
    ) -> Any:
        """Have the device receive what `put` puts on the wire into `iova`; results behind it.

        Args:
            piece: (bytes, from which offset of the buffer on, the IOVA where they lie instead).
        """
        split = dict(zip(("split_bytes", "split_at", "split_iova"), piece, strict=True))
        self._steps += 1
        posted = self.results.posted
        self.set(operation=self.constant("NIC_ROGUE_POST"), **self._posting("receive", iova, size, 10**10), **split)
        self.set(repeat=1, step=self._steps)
        until("the buffer to be posted", lambda: self.results.posted, lambda n: n > posted)
        put()
        results = until("the step post", lambda: self.results, lambda r: r.step == self._steps)
        self.set(split_bytes=0)
        return results

    def _posting(self, queue: str, iova: int, size: int, wait_ns: int) -> dict[str, int]:
        number = self.constant(f"NIC_ROGUE_{queue.upper()}")
        return {"queue": number, "iova": iova, "bytes": size, "wait_ns": wait_ns}

    @property
    def mac(self) -> bytes:
        """The NIC's address."""
        return bytes(self.results.mac)

    def new_page(self, iova: int, *, writable: bool = True) -> int:
        """A memory object of a page, mapped here and shown to the device at `iova`; its address here."""
        memory = self.good("memory_create", 1)
        address = self.good("memory_map", memory, 1)
        self.good("dma_map", self.capability, memory, 0, 1, iova, int(writable))
        return address


class HeldClock:
    """The clock of a `netd_hil` (netd/keuos/test_clock.h), by the agent: it needs no wire."""

    def __init__(self, netd: Netd) -> None:
        self.process = netd.process
        self._requests = 0

    def do(self, operation: str, amount: int = 0) -> Any:
        """Carry an operation out; the results behind it. `amount` in microseconds."""
        self._requests += 1
        code = self.process.elf.layouts.constant(f"TEST_CLOCK_{operation.upper()}")
        self.process.write_struct("test_clock_params", operation=code, amount=amount)
        self.process.write_struct("test_clock_params", request=self._requests)
        return until(
            f"the clock to {operation}",
            lambda: self.process.read_struct("test_clock_results"),
            lambda results: results.request == self._requests,
        )
