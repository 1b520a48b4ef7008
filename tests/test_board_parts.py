"""A board's tables and parts, without any board: mistakes are named, lines and servers do what they promise."""

from __future__ import annotations

import errno
import os
import pty
import queue
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import tty
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import serial
from keuos_hil.plugins import board_load
from keuos_hil.plugins.bench_command import run_command
from keuos_hil.plugins.grub_iso import stick_command
from keuos_hil.plugins.labgrid_client import LabgridClient
from keuos_hil.plugins.loader_prompt import Dialect, LoaderPrompt
from keuos_hil.plugins.serial_line import SerialLine
from keuos_hil.plugins.tftp_server import TftpServer

from keuos_hil import bundled, option_pages, registry, running
from keuos_hil.console import Console
from keuos_hil.errors import InfraError, UsageError, WaitTimeout
from keuos_hil.hookspecs import PartContext, PartType, RunOptions, hookimpl
from keuos_hil.net import wire
from keuos_hil.oracle.siphash import siphash_2_4
from keuos_hil.parts import Deviating
from keuos_hil.streams import SocketStream
from tests.test_docs_examples import example

GOOD = """
[targets.rpi]
type = "board"
arch = "arm64"
console = "/dev/ttyUSB0"
[targets.rpi.power]
part = "command"
on = ["relay", "on"]
off = ["relay", "off"]
[targets.rpi.load]
part = "uboot-tftp"
[targets.rpi.link]
part = "raw"
interface = "eth1"
"""


@pytest.fixture(scope="module")
def manager():
    return registry.load_plugins()


@pytest.fixture
def make(manager, tmp_path):
    def build(text, name="board"):
        path = tmp_path / "keuos-hil.toml"
        path.write_text(text)
        found = registry.Registry(registry.target_types(manager), path)
        return found.make(found.resolve(name), RunOptions(part_types=registry.part_types(manager)))

    return build


def test_the_only_board_is_what_board_means(make):
    board = make(GOOD)
    assert board.name == "rpi"
    assert board.architecture == "arm64"
    assert board.timebase.name == "silicon"
    assert board.capabilities == {"power", "reset", "link", "clean-line", "command-line"}


def test_which_of_several_boards_is_asked(make):
    with pytest.raises(UsageError, match=r"which of them\? Say --target=nuc or --target=rpi"):
        make(GOOD + '[targets.nuc]\ntype = "board"\narch = "x86_64"\nconsole = "/dev/ttyS0"\n')
    assert make(GOOD, "rpi").name == "rpi"


def test_without_any_board_it_is_told_how_to_have_one(make):
    with pytest.raises(UsageError, match=r'no \[targets.NAME\] with type = "board"; docs/board.md'):
        make("")


def test_a_board_without_anything_but_a_line_has_few_capabilities(make):
    board = make('[targets.x]\ntype = "board"\narch = "arm64"\nconsole = "/dev/ttyS0"\nnoisy = true\n')
    assert board.capabilities == frozenset()


def test_a_debug_probe_without_physical_addresses_lets_gdb_attach_and_no_test_look(make):
    tables = GOOD + '[targets.rpi.debug]\npart = "gdb"\nserver = "localhost:3333"\n'
    assert {"debug", "pause"} <= make(tables).capabilities
    board = make(tables + "physical = false\n")
    assert not {"debug", "pause"} & board.capabilities
    assert board.debug.open({})[0] is None
    assert board.debug.attach_command({}) == "gdb -ex 'target remote localhost:3333'"


def test_a_board_says_what_its_processor_does_otherwise_than_the_manual(make):
    board = make(GOOD + '[targets.rpi.deviations]\n"*_iret*" = "fault_read"\n')
    assert isinstance(board, Deviating)
    assert board.deviations == {"*_iret*": "fault_read"}
    assert make(GOOD).deviations == {}
    with pytest.raises(UsageError, match=r"\[targets.rpi.deviations\]: x: expected how it ends, as a string, found 3"):
        make(GOOD + "[targets.rpi.deviations]\nx = 3\n")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('arch = "arm64"', 'arch = "arm46"', "no architecture 'arm46'; did you mean 'arm64'"),
        ('arch = "arm64"', 'arch = "x86_64"', "U-Boot boots arm64 by `booti`; for x86_64 use grub-serial"),
        ('console = "/dev/ttyUSB0"', "", "the key 'console' is missing: its serial line"),
        ('console = "/dev/ttyUSB0"', 'consol = "/dev/ttyUSB0"', "unknown key 'consol'; did you mean 'console'"),
        ('console = "/dev/ttyUSB0"', 'console = "x"\nbaud = 0', "baud = 0"),
        (
            'part = "command"',
            'part = "comand"',
            r"\[targets.rpi.power\]: no power part 'comand'; did you mean 'command'",
        ),
        ('part = "command"', "", r"\[targets.rpi.power\]: the key 'part' is missing; valid: command, manual, none"),
        ('on = ["relay", "on"]', 'onn = ["relay", "on"]', "unknown key 'onn'; did you mean 'on'"),
        ('on = ["relay", "on"]', 'on = "relay on"', "expected a list of strings, found 'relay on'"),
        ('on = ["relay", "on"]', "", "on and off belong together"),
        ('on = ["relay", "on"]', 'on = ["x"]\ncycle = ["y"]', "either cycle, or on and off"),
        ('part = "uboot-tftp"', 'part = "uboot-tftp"\nserwer = "x"', "unknown key 'serwer'; did you mean 'server'"),
        ('part = "raw"\ninterface = "eth1"', 'part = "none"', "sends the image through the link, and there is none"),
        ('part = "raw"', 'part = "rwa"', "no link part 'rwa'; did you mean 'raw'"),
        ('interface = "eth1"', "", "the key 'interface' is missing"),
        (
            'on = ["relay", "on"]',
            "reset = []",
            r"\[targets.rpi.power\]: reset is empty; expected: program and arguments that press",
        ),
        ('"/dev/ttyUSB0"', '"socket://127.0.0.1"', r"console = 'socket://127.0.0.1': expected socket://HOST:PORT"),
        ('"/dev/ttyUSB0"', '"rfc2217://lab:x"', r"console = 'rfc2217://lab:x': expected rfc2217://HOST:PORT"),
        (
            "[targets.rpi.link]",
            '[targets.rpi.debug]\npart = "gdb"\nserver = "localhost"\n[targets.rpi.link]',
            r"\[targets.rpi.debug\]: server = 'localhost': expected HOST:PORT, or the path of a socket",
        ),
        ('part = "uboot-tftp"', 'part = "uboot-ymodem"\nchunk = 1000', "chunk = 1000; expected a multiple of 1024"),
    ],
)
def test_a_mistake_in_a_board_s_tables_is_one_clear_line(make, old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError, match=message) as caught:
        make(GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


LEASED = '[targets.rpi.lease]\npart = "labgrid"\ntags = ["a=b"]\n'


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("address", "192.0.2.300", "expected an IPv4 address"),
        ("server", "tftp.lab", "expected an IPv4 address"),
        ("netmask", "255.0.255.0", "expected one such as 255.255.255.0"),
        ("address", "{address}", r"the lease gives no {address}; it gives no values"),
        ("directory", "/srv/{", ".*; a brace itself is written twice"),
    ],
)
def test_an_address_that_is_none_is_refused_before_the_run(make, key, value, message):
    with pytest.raises(
        UsageError, match=rf"keuos-hil.toml: \[targets.rpi.load\]: {key} = '{re.escape(value)}': {message}"
    ):
        make(GOOD.replace('part = "uboot-tftp"', f'part = "uboot-tftp"\n{key} = "{value}"'))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"eth1"', '"{wire}"', "link]: interface"),
        ('on = ["relay", "on"]', 'on = ["relay", "{wire}"]', "power]: on"),
        (
            "[targets.rpi.link]",
            '[targets.rpi.debug]\npart = "gdb"\nserver = "{wire}:1"\n[targets.rpi.link]',
            "debug]: server",
        ),
    ],
)
def test_braces_with_a_lease_that_gives_nothing_are_refused_and_with_labgrid_s_they_wait(make, old, new, key):
    with pytest.raises(UsageError, match=rf"{re.escape(key)} = '.*{{wire}}.*': the lease gives no {{wire}}"):
        make(GOOD.replace(old, new))
    make(GOOD.replace(old, new) + LEASED)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"place": "north"}, r"address = '{address}': the lease gives no {address}; it gives {place}"),
        ({"address": "10.0.0.256"}, "address = '10.0.0.256': expected an IPv4 address"),
        ({"address": "10.0.0.7"}, "directory = '/nowhere/{address}': there is no such folder"),
    ],
)
def test_what_a_lease_says_of_an_address_is_checked_when_it_is_known(tmp_path, monkeypatch, values, message):
    monkeypatch.setattr(board_load, "flat_image", lambda path, directory: path)
    (tmp_path / "kernel").write_bytes(b"k")
    image: Any = SimpleNamespace(kernel_path=tmp_path / "kernel", initrd_path=None, command_line="")
    options = board_load.TftpOptions(address="{address}", directory="/nowhere/{address}")
    loader = board_load.TftpLoader(options, PartContext("rpi", "arm64", "[rpi.load]"))
    loader.check()
    with pytest.raises(InfraError, match=re.escape(message).replace(re.escape("/{address}"), "/10.0.0.7")):
        loader.prepare(image, tmp_path, values)


def test_a_socket_in_a_folder_that_is_not_there_is_told_with_its_key(make):
    text = GOOD.replace('part = "raw"\ninterface = "eth1"', 'part = "dgram"\nlocal = "/nowhere/host"\nremote = "/x"')
    with pytest.raises(InfraError, match=r"link\]: local = '/nowhere/host': there is no folder /nowhere$"):
        make(text).link.open({})


def test_a_timebase_that_no_board_has_is_refused(manager, tmp_path):
    path = tmp_path / "keuos-hil.toml"
    path.write_text(GOOD)
    found = registry.Registry(registry.target_types(manager), path)
    with pytest.raises(UsageError, match="a board's counter is its own: silicon"):
        found.make("rpi", RunOptions("instructions", part_types=registry.part_types(manager)))


@dataclass(frozen=True)
class SirenOptions:
    """What a stranger's part is told."""

    volume: int = 3


class Siren:
    """A stranger's part, as small as its protocol lets it be."""

    switches, resets = True, False

    def __init__(self, options, context):
        assert context.board == "rpi"
        self.volume = options.volume

    def cycle(self, values):
        raise RuntimeError(f"volume {self.volume}\nis too loud")


@pytest.fixture
def with_part(manager, tmp_path):
    """A board with a stranger's part, `kind`, in place of its own."""

    def build(kind, role="power"):
        path = tmp_path / "keuos-hil.toml"
        rest = re.sub(rf"(?ms)^\[targets.rpi.{role}\].*?(?=^\[|\Z)", "", GOOD)
        path.write_text(f'{rest}[targets.rpi.{role}]\npart = "siren"\n')
        found = registry.Registry(registry.target_types(manager), path)
        mine = PartType(role, "siren", "wakes the neighbours", SirenOptions, kind)
        return found.make("rpi", RunOptions(part_types=(*registry.part_types(manager), mine)))

    return build


def test_a_stranger_s_part_is_found_as_ours_are(with_part):
    power = with_part(Siren).power
    assert (power.switches, power.resets, power.volume) == (True, False, 3)


def test_a_part_that_lacks_what_its_role_demands_is_refused_by_name(with_part):
    def lacking(*names):
        given = {name: value for name, value in vars(Siren).items() if name not in names and name != "__dict__"}
        return type("Dumb", (), given)

    whole = r"\[targets.rpi.power\]: the power part 'siren' \(Dumb\) lacks {}; keuos_hil.board_parts.BoardPower says"
    with pytest.raises(UsageError, match=whole.format("switches")):
        with_part(lacking("switches"))
    with pytest.raises(UsageError, match=whole.format(r"switches, resets, cycle\(\), reset\(\)")):
        with_part(lacking("switches", "resets", "cycle"))
    with pytest.raises(UsageError, match=r"lacks reset\(\); "):
        with_part(type("Button", (Siren,), {"resets": True}))
    with pytest.raises(UsageError, match=r"the load part 'siren' \(Siren\) lacks capabilities, needs_link, banners, "):
        with_part(Siren, "load")


def test_what_breaks_in_a_part_is_the_bench_s_fault_in_one_line(with_part, caplog):
    broken = r"the power part 'siren': its cycle\(\) raised RuntimeError: volume 3 is too loud$"
    with pytest.raises(InfraError, match=broken) as caught:
        with_part(Siren).power.cycle({})
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "is too loud" in caplog.text
    assert "Traceback" in caplog.text
    with pytest.raises(InfraError, match=r"the power part 'siren' can't be made: it raised ZeroDivisionError: "):
        with_part(lambda options, context: 1 / 0)


def test_what_a_part_raises_on_purpose_and_what_happens_while_it_is_held_goes_through_as_it_is(with_part):
    class Lease:
        def __init__(self, options, context):
            pass

        @contextmanager
        def hold(self, console):
            yield {"place": "north"}
            raise LookupError("nobody has it")

    class Power(Siren):
        def cycle(self, values):
            raise WaitTimeout("in vain")

    with pytest.raises(WaitTimeout, match=r"^in vain$"):
        with_part(Power).power.cycle({})
    board = with_part(Lease, "lease")
    with pytest.raises(InfraError, match=r"lease part 'siren': its hold\(\) raised LookupError: nobody"), board.lease():
        assert board.place == "north"
    with pytest.raises(ZeroDivisionError), board.lease():
        _ = 1 / 0


@pytest.mark.parametrize(
    ("given", "message"), [(None, "gave None; expected a pair"), ((1, 2), "gave 2; expected a con")]
)
def test_a_part_that_gives_something_else_than_its_role_says_is_told(with_part, given, message):
    class Wire:
        def __init__(self, options, context):
            pass

        def open(self, values):
            return given

    with pytest.raises(InfraError, match=rf"the link part 'siren': its open\(\) {message}"):
        with_part(Wire, "link").link.open({})


def test_a_part_of_no_role_is_refused_with_the_roles_there_are():
    def load(kind):
        manager = registry.load_plugins()
        registry.add_plugins(manager, [SimpleNamespace(keuos_hil_part_types=hookimpl(lambda: [kind]))])
        registry.part_types(manager)

    with pytest.raises(UsageError, match=r"part 'plug': no role 'pwr'; did you mean 'power'\? valid: debug, lease, "):
        load(PartType("pwr", "plug", "", SirenOptions, Siren))
    with pytest.raises(UsageError, match="part 'plug': expected a dataclass as its options, found <class 'int'>"):
        load(PartType("power", "plug", "", int, Siren))


def test_the_part_that_the_page_shows_is_one(manager, tmp_path):
    found: dict[str, Any] = {}
    exec(example("board.md", "A part of your own", "python"), found)
    (kind,) = found["keuos_hil_part_types"]()
    path = tmp_path / "keuos-hil.toml"
    path.write_text(GOOD.partition("[targets.rpi.power]")[0] + '[targets.rpi.power]\npart = "plug"\nhost = "plug3"\n')
    kinds = (*registry.part_types(manager), kind)
    board: Any = registry.Registry(registry.target_types(manager), path).make("rpi", RunOptions(part_types=kinds))
    with pytest.raises(InfraError, match=r"^plug3 is switched by"):
        board.power.cycle({})


PART = """
from dataclasses import dataclass
from keuos_hil.hookspecs import PartType, hookimpl

@dataclass(frozen=True)
class Options: ...

class Plug:
    {attributes}
    def __init__(self, options, context): ...
    def cycle(self, values): raise RuntimeError("the plug is on fire")

@hookimpl
def keuos_hil_part_types():
    return [PartType("{role}", "plug", "a plug", Options, Plug)]
"""


@pytest.mark.parametrize(
    ("attributes", "role", "status", "line"),
    [
        ("switches, resets = True, False", "power", 10, "its cycle() raised RuntimeError: the plug is on fire"),
        ("resets = False", "power", 4, "the power part 'plug' (Plug) lacks switches; "),
        ("switches, resets = True, False", "pwr", 4, "part 'plug': no role 'pwr'; did you mean 'power'?"),
    ],
)
def test_a_run_with_a_part_that_does_not_work_ends_as_the_bench_s_fault(tmp_path, attributes, role, status, line):
    adapter = Adapter(tmp_path / "tty")
    (tmp_path / "conftest.py").write_text(PART.format(attributes=attributes, role=role))
    (tmp_path / "test_it.py").write_text("def test_it(agent):\n    agent.ping()\n")
    table = f'[targets.x]\ntype = "board"\narch = "arm64"\nconsole = "{adapter.path}"\n'
    (tmp_path / "keuos-hil.toml").write_text(table + '[targets.x.power]\npart = "plug"\n')
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--target=x", f"--results={tmp_path}/results"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    adapter.pull()
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert line in said
    assert "INTERNALERROR" not in said
    assert "Traceback" not in said


def test_the_page_of_keys_is_what_the_dataclasses_say():
    page = Path(__file__).parents[1] / "docs" / "board-options.md"
    assert page.read_text() == option_pages.page(), "python -m keuos_hil.option_pages --output docs/board-options.md"


# The line -----------------------------------------------------------------------------------------------------------


class Adapter:
    """A tty under a stable name that can be pulled out."""

    def __init__(self, path):
        self.path = path
        self.plug()

    def plug(self):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path.symlink_to(os.ttyname(self.slave))

    def pull(self):
        self.path.unlink()
        os.close(self.master)
        os.close(self.slave)


def test_a_port_that_is_not_there_is_one_line_that_says_what_to_look_at(tmp_path):
    with pytest.raises(InfraError, match=r"can't be opened.*ls -l /dev/serial/by-id"):
        SerialLine(str(tmp_path / "tty"), 115200)


@pytest.mark.parametrize("path", ["/dev/null", "/usr"])
def test_what_is_no_serial_port_is_called_so(path):
    with pytest.raises(InfraError, match=f"^the serial port {path} can't be opened: it is no serial port$"):
        SerialLine(path, 115200)


def test_an_address_on_the_network_that_a_lease_gave_is_checked_too():
    with pytest.raises(
        InfraError, match=r"^the serial port socket://lab can't be opened: expected socket://HOST:PORT$"
    ):
        SerialLine("socket://lab", 115200)


def test_a_port_that_another_program_has_open_is_told_with_how_to_find_that_program(tmp_path):
    adapter = Adapter(tmp_path / "tty")
    line = SerialLine(str(adapter.path), 115200)
    with pytest.raises(InfraError, match=r"another program has it open; `fuser .*/tty` tells which$"):
        SerialLine(str(adapter.path), 115200)
    line.close()
    adapter.pull()


def test_a_port_that_vanishes_is_taken_up_again_and_its_absence_is_no_time(tmp_path):
    adapter = Adapter(tmp_path / "tty")
    line = SerialLine(str(adapter.path), 115200)
    os.write(adapter.master, b"before")
    assert line.read(2) == b"before"
    started = line.clock()
    adapter.pull()
    assert line.read(1) == b""
    time.sleep(0.5)
    assert line.read(0.1) == b""
    adapter.plug()
    deadline = time.monotonic() + 10
    while not line.vanished and time.monotonic() < deadline:
        line.read(0.1)
    os.write(adapter.master, b"after")
    assert line.read(2) == b"after"
    line.write(b"hello", 1)
    assert os.read(adapter.master, 10) == b"hello"
    assert line.gone_s >= 0.5
    assert line.clock() - started < 0.5 + line.gone_s
    line.close()
    adapter.pull()


def test_why_a_port_can_not_be_opened_is_told_of_this_attempt_and_no_earlier_one(monkeypatch):
    def fails(url, **how):
        raise failures.pop()

    failures: list[Exception] = [ValueError("odd"), OSError(errno.EBUSY, "Device or resource busy")]
    monkeypatch.setattr(serial, "serial_for_url", fails)
    with pytest.raises(InfraError, match=r"another program has it open; `fuser /dev/ttyX` tells which$"):
        SerialLine("/dev/ttyX", 115200)
    try:
        raise InfraError("an earlier one") from OSError(errno.ENOENT, "No such file or directory")
    except InfraError:
        with pytest.raises(InfraError, match=r"can't be opened: odd$"):
            SerialLine("/dev/ttyX", 115200)


def test_what_another_reader_took_is_no_absence_of_the_port(tmp_path, monkeypatch):
    adapter = Adapter(tmp_path / "tty")
    line = SerialLine(str(adapter.path), 115200)
    os.write(adapter.master, b"x")
    polls = select.poll

    class Late:
        """A poll behind which another program reads first."""

        def __init__(self):
            self.poll_ours = polls()
            self.register = self.poll_ours.register

        def poll(self, timeout):
            found = self.poll_ours.poll(timeout)
            with suppress(BlockingIOError):
                os.read(adapter.slave, 100)
            return found

    monkeypatch.setattr(select, "poll", Late)
    assert line.read(5) == b""
    monkeypatch.undo()
    os.write(adapter.master, b"y")
    assert line.read(5) == b"y"
    assert line.vanished == 0
    line.close()
    adapter.pull()


def test_a_reader_is_woken(tmp_path):
    adapter = Adapter(tmp_path / "tty")
    line = SerialLine(str(adapter.path), 115200)
    threading.Timer(0.1, line.wake).start()
    started = time.monotonic()
    assert line.read(30) == b""
    assert time.monotonic() - started < 20
    line.close()
    line.close()
    adapter.pull()


# TFTP ---------------------------------------------------------------------------------------------------------------


class Wire:
    """A link to one client, which is the test."""

    def __init__(self):
        self.to_server: queue.Queue[bytes] = queue.Queue()
        self.to_client: queue.Queue[bytes] = queue.Queue()

    def receive(self, timeout):
        try:
            return self.to_server.get(timeout=timeout)
        except queue.Empty:
            return None

    def send(self, frame):
        self.to_client.put(frame)

    CLIENT, SERVER = wire.ip("192.0.2.2"), wire.ip("192.0.2.1")
    MAC = bytes.fromhex("020000000002")

    def say(self, port, payload, server_port=69):
        datagram = wire.ipv4(
            self.CLIENT, self.SERVER, 17, wire.udp(self.CLIENT, self.SERVER, port, server_port, payload)
        )
        self.to_server.put(wire.ethernet(bytes(6), self.MAC, wire.ETHERTYPE_IPV4, datagram))

    def hear(self):
        packet = wire.parse(self.to_client.get(timeout=5))
        assert isinstance(packet, wire.Udp)
        assert packet.checksum_ok
        return packet


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 5120])
@pytest.mark.parametrize("options", [b"", b"blksize\0" + b"512\0" + b"tsize\0" + b"0\0"])
def test_a_file_of_any_size_is_served_whole(size, options):
    data = bytes(i % 251 for i in range(size))
    link = Wire()
    with TftpServer(link, "192.0.2.1", {"file": data}):
        link.say(1234, b"\0\1file\0octet\0" + options)
        got = b""
        if options:
            packet = link.hear()
            assert packet.payload == b"\0\6blksize\0" + b"512\0" + b"tsize\0%d\0" % size
            link.say(1234, b"\0\4\0\0", packet.source_port)
        for block in range(1, 100):
            packet = link.hear()
            code, number = struct.unpack_from("!HH", packet.payload)
            assert (code, number) == (3, block)
            got += packet.payload[4:]
            link.say(1234, struct.pack("!HH", 4, block), packet.source_port)
            if len(packet.payload) < 516:
                break
    assert got == data


def test_a_lost_block_is_sent_again_and_an_old_acknowledgment_is_not_answered():
    link = Wire()
    with TftpServer(link, "192.0.2.1", {"file": bytes(1000)}) as server:
        link.say(1234, b"\0\1file\0octet\0")
        first = link.hear()
        again = link.hear()
        assert again.payload == first.payload
        link.say(1234, b"\0\4\0\1", first.source_port)
        assert link.hear().payload[:4] == b"\0\3\0\2"
        link.say(1234, b"\0\4\0\1", first.source_port)
        link.say(1234, b"\0\4\0\2", first.source_port)
        time.sleep(0.7)
        assert link.to_client.empty()
        assert server.repeats == 1


def test_what_is_not_there_and_what_is_not_allowed_is_refused():
    link = Wire()
    with TftpServer(link, "192.0.2.1", {}):
        link.say(1, b"\0\1../etc/passwd\0octet\0")
        assert link.hear().payload.startswith(b"\0\5\0\1no file ../etc/passwd")
        link.say(1, b"\0\2file\0octet\0")
        assert link.hear().payload.startswith(b"\0\5\0\4")
        link.say(1, b"\0\1file\0netascii\0")
        assert link.hear().payload.startswith(b"\0\5\0\4")


def test_the_server_answers_arp_for_its_own_address_alone():
    link = Wire()
    with TftpServer(link, "192.0.2.1", {}):
        for asked in ("192.0.2.7", "192.0.2.1"):
            ask = wire.arp(1, Wire.MAC, Wire.CLIENT, bytes(6), wire.ip(asked))
            link.to_server.put(wire.ethernet(b"\xff" * 6, Wire.MAC, wire.ETHERTYPE_ARP, ask))
        answer = wire.parse(link.to_client.get(timeout=5))
        assert isinstance(answer, wire.Arp)
        assert answer.sender == Wire.SERVER
        assert link.to_client.empty()


# labgrid ------------------------------------------------------------------------------------------------------------


def test_without_labgrid_it_is_said_how_to_have_it():
    client = LabgridClient("no-such-labgrid-client", "", "[targets.farm.lease]")
    with pytest.raises(InfraError, match=r"there is no program no-such-labgrid-client; `python3 -m venv labgrid"):
        client.place(["board=arm"], 1).__enter__()


CLIENT = """#!/bin/sh
echo "$*" >>"$0.log"
case "$*" in
reserve*) echo LG_TOKEN=ABC ;;
*show) echo "Place 'north':" ;;
esac
"""
HOLDS = """
import sys, time
from keuos_hil.plugins.labgrid_client import LabgridClient

with LabgridClient(sys.argv[1], "", "here").place(["board=arm"], 10) as values:
    print(values["place"], flush=True)
    if len(sys.argv) > 2:
        time.sleep(600)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_a_place_of_labgrid_is_given_back_however_its_holder_ends(tmp_path, killed):
    client = tmp_path / "client"
    client.write_text(CLIENT)
    client.chmod(0o755)
    command = [sys.executable, "-c", HOLDS, str(client), *(["stay"] if killed else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "north\n"
        if killed:
            holder.kill()
        holder.wait(60)
    deadline = time.monotonic() + 60
    back = {"cancel-reservation ABC", "-p north release"}
    while not back <= (told := set((tmp_path / "client.log").read_text().splitlines())):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)


# A boot loader's prompt ----------------------------------------------------------------------------------------------


def test_a_zero_from_a_boot_rom_hides_no_prompt():
    """What follows a zero could be a frame; a boot loader sends none, and answers each key before a silence comes."""
    host, board = socket.socketpair()
    keys = []

    def boot_loader():
        board.sendall(b"\0\xf8\0\x80")
        line = b""
        while data := board.recv(64):
            for key in data:
                if key == 3:
                    keys.append(key)
                    line = b""
                    board.sendall(b"<INTERRUPT>\r\n=> ")
                elif key == 13:
                    board.sendall(b"\r\n" + line.removeprefix(b"echo ") + b"\r\n=> ")
                    line = b""
                else:
                    line += bytes([key])
                    board.sendall(bytes([key]))

    thread = threading.Thread(target=boot_loader)
    thread.start()
    console = Console(SocketStream(host))
    try:
        LoaderPrompt(console, Dialect("U-Boot", b"=> ", b"\x03", b"\x03"), 60).interrupt()
        assert len(keys) < 20
    finally:
        board.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        console.close()
        board.close()


class Says:
    """A board that says the same to every key."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        host, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self.answer)
        self.thread.start()
        self.console = Console(SocketStream(host))
        return self.console

    def answer(self):
        while self.end.recv(64):
            if self.text:
                self.end.sendall(self.text)

    def __exit__(self, *exc):
        self.end.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.console.close()
        self.end.close()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (b"", "no prompt of U-Boot came, nor anything else; was the board switched on at all"),
        (
            b"<INTERRUPT>\r\nMYBOARD# ",
            r"no prompt of U-Boot came; the last that came was '.*' and 'MYBOARD#.*'; is the key prompt ",
        ),
    ],
)
def test_where_no_prompt_comes_it_is_told_what_came_instead(text, first):
    dialect = Dialect("U-Boot", b"=> ", b"\x03", b"\x03", "the key prompt ('=> ')")
    with Says(text) as console, pytest.raises(InfraError) as caught:
        LoaderPrompt(console, dialect, 1).interrupt()
    assert re.match(first, str(caught.value).splitlines()[0]), caught.value


# Programs of the bench ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "first"),
    [
        ("echo a; echo; exit 3", "`.*` failed with status 3; it said: a"),
        ("exit 1", r"`.*` failed with status 1; it said: \(nothing\)"),
        ("echo Traceback >&2; echo ' in x' >&2; echo 'No: relay' >&2; echo; exit 1", ".*; it said: No: relay"),
        ("echo one; echo no >&2; exit 1", ".*; it said: no"),
    ],
)
def test_of_what_a_failed_program_said_the_last_line_comes_first(script, first):
    with pytest.raises(InfraError) as caught:
        run_command(["sh", "-c", script], 30)
    assert re.fullmatch(first, str(caught.value).splitlines()[0])


def test_a_failed_program_that_said_much_is_quoted_in_short():
    with pytest.raises(InfraError) as caught:
        run_command(["sh", "-c", "seq 100000 >&2; head -c 9999 /dev/zero | tr '\\0' x >&2; exit 1"], 30)
    assert len(str(caught.value)) < 1000


# A stick ------------------------------------------------------------------------------------------------------------


def test_the_command_for_a_stick_names_all_that_a_run_boots(tmp_path, monkeypatch):
    def image(variant, initrd):
        return SimpleNamespace(
            variant=variant, kernel=SimpleNamespace(machine="x86_64"), kernel_path=tmp_path / "k", initrd_path=initrd
        )

    ours, mine = tmp_path / "initrd.cpio", tmp_path / "my own.cpio"
    ours.write_text("ours")
    mine.write_text("mine")
    monkeypatch.setattr(bundled, "paths", lambda *_: SimpleNamespace(initrd=ours))
    program = "python -m keuos_hil.plugins.grub_iso"
    end = "--output=stick.iso"
    assert stick_command(image("hil", ours), 115200) == f"{program} {end}"
    assert stick_command(image("release", mine), 9600) == f"{program} '--initrd={mine}' --baud=9600 {end}"
    assert stick_command(image("given", ours), 115200) == f"{program} --kernel={tmp_path}/k --initrd={ours} {end}"
    assert stick_command(image("given", None), 115200) == f"{program} --kernel={tmp_path}/k {end}"


# A person at the terminal -------------------------------------------------------------------------------------------

SWITCHES = """
from types import SimpleNamespace
from keuos_hil.plugins.board_power import ManualOptions, ManualPower
from keuos_hil.errors import InfraError

power = ManualPower(ManualOptions(), SimpleNamespace(board="rpi4"))
try:
    power.cycle({})
except InfraError as error:
    print(f"bench: {error}")
else:
    print("switched")
"""


@pytest.mark.parametrize(("typed", "answer"), [(b"\r", b"switched"), (b"\x04", b"bench: rpi4 has to be switched")])
def test_a_person_is_asked_to_switch_and_enter_says_that_it_is_done(typed, answer):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", SWITCHES])
    seen = b""
    try:
        while b"press Enter" not in seen:
            seen += os.read(terminal, 4096)
        assert b"rpi4: switch it off" in seen
        os.write(terminal, typed)
        with suppress(OSError):  # EIO at the end
            while data := os.read(terminal, 4096):
                seen += data
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    assert answer in seen


def test_without_a_terminal_a_manual_switch_is_the_benchs_fault():
    done = subprocess.run(
        [sys.executable, "-c", SWITCHES],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        start_new_session=True,
    )
    assert "there is no terminal to ask at" in done.stdout


# What runs already --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"build_id": b"\1" * 20}, "it runs the build 0101"),
        ({"initrd_hash": 5}, "it runs this kernel with another initrd"),
        ({"command_line_hash": 5}, "it runs this build with another command line"),
        ({"processes": 2}, "it runs this build, with 2 processes and 0 channels on it"),
    ],
)
def test_a_board_is_taken_as_it_is_only_if_everything_is_as_after_a_boot(tmp_path, change, why):
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"a cpio archive")
    image: Any = SimpleNamespace(initrd_path=initrd, kernel=SimpleNamespace(build_id="ab" * 20))
    told = {
        "build_id": b"\xab" * 20,
        # another implementation than the one under test
        "initrd_hash": int(siphash_2_4(bytes(16), np.frombuffer(b"a cpio archive", np.uint8)[None])[0]),
        "command_line_hash": int(siphash_2_4(bytes(16), np.frombuffer(b"quiet", np.uint8)[None])[0]),
        "processes": 1,
        "channels": 0,
    }
    info: Any = SimpleNamespace(**told | change)
    found = running.difference(info, image, "quiet")
    assert found.startswith(why)
    assert bool(found) == bool(why)
