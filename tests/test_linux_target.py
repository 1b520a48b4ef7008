"""The target linux: a stack in a namespace, a wire to it, calls that don't block, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from keuos_hil.targets.linux import Linux, LinuxOptions, LinuxSession
from scapy.layers.inet import ICMP
from scapy.utils import rdpcap

from keuos_hil import cli
from keuos_hil.errors import InfraError, SocketError, UsageError
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net import wire
from keuos_hil.net.host import Host, WireFailure
from keuos_hil.net.seq import add
from keuos_hil.net.sockets import App, pattern_crc
from keuos_hil.net.tcp import Stack
from keuos_hil.parts import Timebase


@pytest.fixture
def session(tmp_path):
    opened = Linux("linux", LinuxOptions(), RunOptions()).attach(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def net(session):
    host = Host(session.link, session.network)
    ports = iter(range(3000, 4000))
    stack = Stack(host, App(session.sockets, host), lambda: next(ports))
    yield stack
    stack.clean_up()


def test_its_timebase_is_this_machine_s_own_counter(session):
    target = Linux("linux", LinuxOptions(), RunOptions(timebase="silicon"))
    assert target.timebase == session.timebase == Timebase("silicon")
    with pytest.raises(UsageError, match="target linux: no timebase 'emulated'; this machine's counter is its own"):
        Linux("linux", LinuxOptions(), RunOptions(timebase="emulated"))


def test_the_stack_answers_arp_and_echo(session):
    host = Host(session.link, session.network)
    host.fence()
    assert [arp.operation for arp in host.arps] == [1]


def test_a_stream_of_the_pattern_arrives_in_both_directions(net):
    c = net.est()
    c.tx("PA", data=1000)
    got = c.sock.recv_exactly(1000)
    assert (got.count, got.bad, got.crc) == (1000, None, pattern_crc(1000))
    assert c.sock.send(3000) == 3000
    taken = c.rx_data(3000, reply=True)
    assert b"".join(segment.payload for segment in taken) == wire.pattern(0, 3000)


def test_a_wrong_byte_is_noticed_where_it_stands(net):
    c = net.est()
    c.tx("PA", data=wire.pattern(0, 70) + b"\xaa" + wire.pattern(71, 9))
    assert c.sock.recv_exactly(80).bad == 70


def test_a_failure_tells_what_came_what_was_expected_and_the_conversation_in_relative_numbers(net):
    c = net.est()
    c.tx("PA", data=10, remark="ten bytes")
    with pytest.raises(WireFailure) as failure:
        c.rx("A", seq=c.rcv, ack=add(c.snd, 5))
    told = str(failure.value).splitlines()
    assert re.fullmatch(
        rf"expected from port {c.target_port}: A, seq 1 \(relative\), ack 16 \(relative\); came: "
        rf"{c.target_port}>{c.port} A seq 1 ack 11 win \d+: ack 11 \(relative\)",
        told[0],
    )
    assert any(f"> {c.port}>{c.target_port} S seq 0 win 65535 <MSS 1460>" in line for line in told)
    sent, came = told[-2:]
    assert re.search(rf"> {c.port}>{c.target_port} PA seq 1 \.\.11 \(10 bytes\) ack 1 win 65535  \[ten bytes\]", sent)
    assert re.search(rf"< {c.target_port}>{c.port} A seq 1 ack 11 win \d+", came)


def test_no_call_blocks(net):
    listener, _ = net.listen()
    with pytest.raises(SocketError, match="EAGAIN"):
        listener.accept(0)
    c = net.est()
    with pytest.raises(SocketError, match="EAGAIN"):
        c.sock.recv(1, 0)


@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        (("send", 77, 1), "EBADF"),
        (("send", -1, 1), "EBADF"),
        (("fly", 0), "EBADF"),
        (("set", 0, "wings", 2), "ENOPROTOOPT"),
        (("send", 0, 1), "EPIPE"),
    ],
)
def test_what_can_not_be_done_is_named(session, request_line, name):
    if name not in ("EBADF",):
        session.sockets.call("open", "tcp")
    with pytest.raises(SocketError) as caught:
        session.sockets.call(*request_line)
    assert caught.value.name == name


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_nothing_is_left_after_a_session(tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    session = Linux("linux", LinuxOptions(), RunOptions()).attach(tmp_path)
    assert isinstance(session, LinuxSession)
    pid = session._process.pid
    session.close()
    session.close()
    assert not _alive(pid)
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_this_process_is_ended(tmp_path, number):
    program = (
        "import signal, sys, time; from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in a shell's background ignores it
        "from keuos_hil.targets.linux import *\n"
        "s = Linux('linux', LinuxOptions(), RunOptions()).attach(Path(sys.argv[1]))\n"
        "print(s._process.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        assert _alive(pid)
        child.send_signal(number)
    deadline = time.monotonic() + 20
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _alive(pid)


def test_a_setting_that_the_kernel_refuses_is_one_line(tmp_path):
    with pytest.raises(InfraError, match=r"tcp_sack can't be set to nonsense") as caught:
        Linux("linux", LinuxOptions(set=["ipv4/tcp_sack=nonsense"]), RunOptions()).attach(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"mtu": 100}, {"set": ["tcp_sack"]}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        Linux("linux", LinuxOptions(**options), RunOptions())


TESTS = """
import pytest

@pytest.mark.needs("agent")
def test_agent(agent): raise AssertionError("not reached")

@pytest.mark.needs("channels", "debug")
def test_channels(target): raise AssertionError("not reached")

def test_console(console): raise AssertionError("not reached")

def test_image(image): raise AssertionError("not reached")

@pytest.mark.needs("link", "sockets")
def test_link(target): assert target.link.receive(0) is None
"""


def test_what_needs_an_image_is_skipped_with_its_reason(pytester):
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-rs", "--target=linux", timeout=120)
    result.assert_outcomes(passed=1, skipped=4)
    result.stdout.fnmatch_lines_random(
        ["*needs 'agent': target linux boots no image*", "*target linux boots no image, and this test is about one*"]
    )


def test_a_kernel_for_it_is_a_usage_error(pytester, tiny_elf):
    result = pytester.runpytest_subprocess("--target=linux", f"--kernel={tiny_elf('spin')}", timeout=120)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*target linux boots no image; leave out --kernel*"])


def test_a_user_without_rights_gets_one_line():
    if os.getuid() != 0:
        pytest.skip("the test gives up root's rights, and has none")
    program = (
        "import os, sys; from pathlib import Path\n"
        "from keuos_hil.targets.linux import *\n"
        "target = Linux('linux', LinuxOptions(), RunOptions())\n"
        "target.build(Path(sys.argv[1]))\n"  # the sources may be where that user can't read
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: s = target.attach(Path(sys.argv[1]))\n"
        "except InfraError as error: print('told:', error)\n"
        "else: print('works:', s.sockets.system)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        command = [sys.executable, "-c", program, folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    refusals = ("/dev/net/tun can't be opened: Permission denied. Run as root", "no network namespace can be made")
    assert done.stdout.startswith(("works: Linux", *(f"told: linux: {text}" for text in refusals))), done.stdout
    assert done.stdout.count("\n") == 1


FAILING_BY_SCAPY = """
from keuos_hil.net.scapy_socket import LinkSocket
from scapy.layers.inet import ICMP, IP

def test_x(target):
    socket = LinkSocket(target.link, "02:00:00:00:ad:05", target.network.gateway)
    assert socket.sr1(IP(dst=target.network.address) / ICMP()) is None
"""


def test_the_network_suites_keep_the_frames_of_a_test_that_makes_its_own_end_of_the_wire(pytester):
    pytester.makeconftest('pytest_plugins = ["keuos_hil.suites.net.conftest"]')
    pytester.makepyfile(FAILING_BY_SCAPY)
    result = pytester.runpytest_subprocess("--target=linux", f"--results={pytester.path}/r", timeout=120)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- frames -*", "*/test_x-linux.pcap", "*/test_x-linux.frames.txt"])
    (pcap,) = (pytester.path / "r").rglob("*.pcap")
    assert [packet[ICMP].type for packet in rdpcap(str(pcap)) if ICMP in packet] == [8, 0]


FAILING = """
from keuos_hil.net.host import Host, WireFailure
from keuos_hil.net.seq import add
from keuos_hil.reporting import frames_key

def test_x(target, request):
    host = Host(target.link, target.network)
    request.node.stash[frames_key] = lambda: host.transcript, target.directory
    host.fence()
    host.note("<and then>")
    raise AssertionError
"""


def test_the_frames_of_a_failed_test_are_kept_and_shown_by_the_report(pytester):
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_subprocess("--target=linux", f"--results={pytester.path}/r", "--report", timeout=120)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- frames -*", "*/test_x-linux.pcap", "*/test_x-linux.frames.txt", "report: *"])
    by_the_run = (pytester.path / "r" / "latest" / "report.html").read_text()
    moved = (pytester.path / "r" / "latest").resolve().rename(pytester.path / "elsewhere")
    (pcap,) = moved.rglob("*.pcap")
    assert [packet.haslayer(ICMP) for packet in rdpcap(str(pcap))].count(1) == 2
    assert cli.main(["report", str(moved)]) == 0
    page = (moved / "report.html").read_text()
    assert "ICMP type 8 code 0" in page
    assert "# &lt;and then&gt;" in page
    assert by_the_run == page, "a run writes the same as the command"
