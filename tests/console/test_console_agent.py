"""The whole console process on the host, spoken to over its line: the protocol, the prompt, and hostile input."""

from __future__ import annotations

import platform
import random
import re
from collections.abc import Callable

import cbor2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keuos_hil.errors import ProtocolViolation
from keuos_hil.protocol import words

from .conftest import HostConsole, make_frame

ENOENT, EFAULT, EINVAL, ESTATE, ENOSYS = 2, 4, 5, 10, 13
UNKNOWN_OPERATION, MALFORMED, TOO_LARGE = 100, 101, 102
EXIT_CODE, EXIT_KILLED = 1, 2
MEMORY_BASE = 0x400000
PROCESS_INFO_BYTES = 112
CHANNEL_INFO_BYTES = 88
EVENT_BYTES = 120

StartConsole = Callable[..., HostConsole]


def spawn(console: HostConsole, name: str, **arguments: object) -> int:
    reply = console.request("spawn", name=name, **arguments)
    assert reply["ok"], reply
    pid = reply["pid"]
    assert isinstance(pid, int)
    return pid


# --- protocol ---


def test_the_boot_event_comes_before_the_first_prompt(start_console: StartConsole) -> None:
    console = start_console()
    assert console.read_text("keuos> ") == "KeuOS agent ready\r\nkeuos> "
    assert console.messages == [{"event": "boot", "build": "KeuOS model"}]


def test_hello_returns_the_nonce_and_the_protocols_number(host_console: HostConsole) -> None:
    reply = host_console.request("hello", nonce=2**32 - 1)
    assert reply == {"id": 0, "ok": True, "nonce": 2**32 - 1, "protocol": 1, "agent": "keuos console"}


def test_a_repeated_request_gets_the_same_reply_and_takes_effect_once(host_console: HostConsole) -> None:
    request = make_frame({"id": 1, "op": "spawn", "name": "sleeper"})
    replies = []
    for _ in range(3):
        host_console.send(request)
        replies.append(host_console.reply_to(1))
    assert replies[0]["ok"]
    assert replies[1] == replies[2] == replies[0]
    host_console.send(make_frame({"id": 2, "op": "processes"}))
    assert len(host_console.reply_to(2)["processes"]) == PROCESS_INFO_BYTES


def test_hello_forgets_the_kept_reply(host_console: HostConsole) -> None:
    first = host_console.request("spawn", name="sleeper")
    host_console.request("hello", nonce=1)
    second = host_console.request("spawn", name="sleeper")
    assert first["id"] == second["id"] == 1
    assert first["pid"] != second["pid"]


def test_a_process_is_spawned_written_read_started_killed_and_dropped(host_console: HostConsole) -> None:
    pid = spawn(host_console, "sleeper", suspended=True, args="one two", core=0, priority=2, pages=7)
    data = bytes(range(256)) * 12
    assert host_console.request("write", pid=pid, address=MEMORY_BASE, data=data)["ok"]
    assert host_console.request("read", pid=pid, address=MEMORY_BASE, bytes=len(data))["data"] == data
    assert host_console.request("start", pid=pid)["ok"]
    assert host_console.request("start", pid=pid)["code"] == ESTATE
    assert len(host_console.request("process", pid=pid)["process"]) == PROCESS_INFO_BYTES
    assert host_console.request("kill", pid=pid)["ok"]
    event = host_console.take_message()
    assert event == {"event": "exit", "pid": pid, "reason": EXIT_KILLED, "detail": 1, "address": MEMORY_BASE}
    assert host_console.request("read", pid=pid, address=MEMORY_BASE, bytes=4)["data"] == data[:4]
    assert host_console.request("drop", pid=pid)["ok"]
    assert host_console.request("process", pid=pid)["code"] == ENOENT


@given(
    numbers=st.lists(st.one_of(st.integers(0, 2**32 - 1), st.integers(1000, 1020)), min_size=1, max_size=700),
    room=st.integers(5, 3072),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_words_come_in_few_bytes_and_in_as_many_pieces_as_the_host_has_room_for(
    host_console: HostConsole, numbers: list[int], room: int
) -> None:
    pid = spawn(host_console, "sleeper", suspended=True)
    data = np.array(numbers, "<u4").tobytes()
    assert host_console.request("write", pid=pid, address=MEMORY_BASE, data=data)["ok"]
    found: list[int] = []
    while len(found) < len(numbers):
        left = len(numbers) - len(found)
        at = MEMORY_BASE + 4 * len(found)
        reply = host_console.request("read_words", pid=pid, address=at, words=left, bytes=room)
        assert len(reply["data"]) <= room
        assert 0 < reply["words"] <= left
        found += words.decode(reply["data"], reply["words"]).tolist()
    assert found == numbers
    assert host_console.request("kill", pid=pid)["ok"]
    assert host_console.request("drop", pid=pid)["ok"]


def test_samples_that_vary_little_take_two_bytes_each(host_console: HostConsole) -> None:
    pid = spawn(host_console, "sleeper", suspended=True)
    samples = np.random.default_rng(1).integers(90_000, 92_000, 700)
    assert host_console.request("write", pid=pid, address=MEMORY_BASE, data=samples.astype("<u4").tobytes())["ok"]
    reply = host_console.request("read_words", pid=pid, address=MEMORY_BASE, words=700, bytes=3072)
    assert words.decode(reply["data"], 700).tolist() == samples.tolist()
    assert len(reply["data"]) <= 2 * 700 + 1


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x00\x00", b"\xff\xff\xff\xff\x1f", b"\x80\x80\x80\x80\x80\x00"])
def test_words_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ProtocolViolation, match=r"read_words: "):
        words.decode(data, 1)


def test_the_exit_event_comes_once_and_behind_the_spawns_reply(host_console: HostConsole) -> None:
    host_console.send(make_frame({"id": 1, "op": "spawn", "name": "hello"}))
    reply, event = host_console.take_message(), host_console.take_message()
    assert reply["ok"]
    assert event == {"event": "exit", "pid": reply["pid"], "reason": EXIT_CODE, "detail": 0, "address": MEMORY_BASE}
    host_console.send(make_frame({"id": 2, "op": "ping"}))
    assert host_console.take_message() == {"id": 2, "ok": True}


def test_children_that_share_a_notification_bit_are_all_reported(host_console: HostConsole) -> None:
    # Capabilities 2 to 71: the last six share their bits with others.
    pids = [spawn(host_console, "sleeper") for _ in range(70)]
    for pid in (pids[0], pids[64], pids[1]):
        assert host_console.request("kill", pid=pid)["ok"]
    host_console.wait_for(lambda: len(host_console.messages) == 3, "three exit events")
    assert {m["pid"] for m in host_console.messages} == {pids[0], pids[64], pids[1]}


@pytest.mark.parametrize("ways", [[2], [0, 2], [1, 2], [0, 0, 1, 2]])
def test_a_channel_is_bound_closed_or_revoked_and_dropped(host_console: HostConsole, ways: list[int]) -> None:
    one, two = spawn(host_console, "sleeper"), spawn(host_console, "sleeper")
    reply = host_console.request("bind", producer=one, consumer=two, mode=2, order=1, label=2**64 - 1)
    assert reply["ok"], reply
    for how in ways:
        assert len(host_console.request("channels")["channels"]) == CHANNEL_INFO_BYTES
        assert host_console.request("unbind", channel=reply["channel"], how=how)["ok"]
    assert host_console.request("channels")["channels"] == b""
    assert host_console.request("unbind", channel=reply["channel"], how=2)["code"] == ENOENT


def test_a_capability_is_granted(host_console: HostConsole) -> None:
    one, two = spawn(host_console, "sleeper"), spawn(host_console, "sleeper")
    assert isinstance(host_console.request("grant", to=one, what=two, rights=2)["capability"], int)


def test_events_come_in_pieces_that_join_up(host_console: HostConsole) -> None:
    sequence, seen = 0, b""
    while events := host_console.request("events", **{"from": sequence})["events"]:
        seen += events
        sequence = len(seen) // EVENT_BYTES
    numbers = [int.from_bytes(seen[at : at + 8], "little") for at in range(0, len(seen), EVENT_BYTES)]
    assert numbers == list(range(100))


def test_files_lists_the_initrd(host_console: HostConsole) -> None:
    assert host_console.request("files")["files"] == ["console", "faulty", "hello", "net", "netd", "sleeper"]


@pytest.mark.parametrize(
    ("key", "size", "most"), [("processes", PROCESS_INFO_BYTES, 64), ("channels", CHANNEL_INFO_BYTES, 128)]
)
def test_a_list_too_long_for_a_reply_comes_in_pieces(
    start_console: StartConsole, key: str, size: int, most: int
) -> None:
    console = start_console(**{f"MODEL_{key.upper()}": str(most)})
    refusal = console.request(key)
    assert (refusal["ok"], refusal["code"]) == (False, TOO_LARGE)
    assert "'from'" in refusal["text"]
    reply = console.request(key, **{"from": 0})
    data: bytes = reply[key]
    while "next" in reply:
        reply = console.request(key, **{"from": reply["next"]})
        data += reply[key]
    numbers = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), size)]
    assert numbers == list(range(1000, 1000 + most))


@pytest.mark.parametrize(
    ("operation", "arguments", "code", "word"),
    [
        ("nonsense", {}, UNKNOWN_OPERATION, "nonsense"),
        ("spawn", {}, MALFORMED, "'name'"),
        ("spawn", {"name": "x" * 32}, MALFORMED, "31"),
        ("spawn", {"name": "hel\0lo"}, MALFORMED, "NUL"),
        ("spawn", {"name": 5}, MALFORMED, "expected text"),
        ("spawn", {"name": "hello", "core": -1}, MALFORMED, "'core'"),
        ("spawn", {"name": "hello", "core": 99}, EINVAL, "range"),
        ("spawn", {"name": "nothere"}, ENOENT, "nothere"),
        ("read", {"pid": 99, "address": 0, "bytes": 1}, ENOENT, "99"),
        ("read_words", {"pid": 99, "address": 0, "words": 1, "bytes": 5}, ENOENT, "99"),
        ("write", {"pid": 99, "address": 0}, ENOENT, "99"),
        ("bind", {"producer": 1, "consumer": 1, "mode": 0}, ENOENT, "'producer'"),
        ("unbind", {"channel": 0, "how": 3}, MALFORMED, "at most 2"),
        ("hil", {"code": 0}, ENOSYS, "HIL"),
        ("hello2", {"nonce": 1}, UNKNOWN_OPERATION, "hello2"),
    ],
)
def test_an_error_says_what_was_expected(
    host_console: HostConsole, operation: str, arguments: dict[str, object], code: int, word: str
) -> None:
    reply = host_console.request(operation, **arguments)
    assert (reply["ok"], reply["code"]) == (False, code)
    assert word in reply["text"]
    assert set(reply) == {"id", "ok", "code", "text"}


def test_memory_outside_the_process_is_refused_and_so_is_too_much_of_it(host_console: HostConsole) -> None:
    pid = spawn(host_console, "sleeper")
    assert host_console.request("read", pid=pid, address=2**64 - 1, bytes=3072)["code"] == EFAULT
    assert host_console.request("read_words", pid=pid, address=2**64 - 4, words=2, bytes=9)["code"] == EFAULT
    assert host_console.request("read_words", pid=pid, address=MEMORY_BASE, words=1, bytes=3073)["code"] == MALFORMED
    assert host_console.request("write", pid=pid, address=0, data=b"x")["code"] == EFAULT
    assert host_console.request("read", pid=pid, address=MEMORY_BASE, bytes=3073)["code"] == MALFORMED
    assert host_console.request("write", pid=pid, address=MEMORY_BASE, data=bytes(3073))["code"] == MALFORMED
    assert len(host_console.request("read", pid=pid, address=MEMORY_BASE, bytes=3072)["data"]) == 3072


@pytest.mark.parametrize(
    "message", [{"op": "ping"}, {"id": -1, "op": "ping"}, {"id": 2**32, "op": "ping"}, {}, [1], "x"]
)
def test_what_names_no_id_is_not_answered(host_console: HostConsole, message: object) -> None:
    host_console.send(make_frame(message) + make_frame({"id": 1, "op": "ping"}))
    assert host_console.take_message() == {"id": 1, "ok": True}


def test_a_reboot_reaches_the_kernel(host_console: HostConsole) -> None:
    host_console.send(make_frame({"id": 1, "op": "reboot", "kind": 0}))
    assert host_console.close() == 42


def test_a_full_transmit_buffer_delays_output_and_loses_none(start_console: StartConsole) -> None:
    console = start_console(MODEL_STINGY="7")
    console.send(b"help\r" * 20)
    pid = spawn(console, "sleeper")
    for number in range(20):
        data = bytes([number + 1]) * 3000
        assert console.request("write", pid=pid, address=MEMORY_BASE, data=data)["ok"]
        assert console.request("read", pid=pid, address=MEMORY_BASE, bytes=3000)["data"] == data
    for _ in range(20):
        assert "this list" in console.read_text("reset the machine, or switch it off\r\n")


# --- frames and text on one line ---


def test_a_frame_takes_nothing_from_the_line_being_typed(host_console: HostConsole) -> None:
    host_console.send(b"he" + make_frame({"id": 1, "op": "ping"}) + b"lp\r")
    assert host_console.take_message() == {"id": 1, "ok": True}
    assert "this list" in host_console.read_text("keuos> ")


def test_a_frame_unfinished_when_the_line_falls_silent_is_dropped(host_console: HostConsole) -> None:
    host_console.send(make_frame({"id": 1, "op": "ping"})[:-1])
    host_console.fall_silent()
    # In a frame still open this would vanish.
    host_console.send(b"help\r")
    assert "this list" in host_console.read_text("switch it off\r\nkeuos> ")
    assert host_console.messages == []


def test_a_frame_survives_a_pause_in_which_nothing_fell_silent(host_console: HostConsole) -> None:
    request = make_frame({"id": 1, "op": "ping"})
    host_console.send(request[:5])
    host_console.send(request[5:])
    assert host_console.take_message() == {"id": 1, "ok": True}


@pytest.mark.parametrize("cut", [slice(1, None), slice(0, -1), slice(0, 9), slice(5, None)])
def test_a_damaged_request_costs_a_repetition_and_nothing_else(host_console: HostConsole, cut: slice) -> None:
    request = make_frame({"id": 1, "op": "spawn", "name": "sleeper"})
    host_console.send(request[cut])
    host_console.send(request)
    host_console.send(request)
    assert host_console.reply_to(1)["ok"]
    host_console.send(make_frame({"id": 2, "op": "processes"}))
    assert len(host_console.reply_to(2)["processes"]) == PROCESS_INFO_BYTES
    host_console.send(b"\rps\r")
    assert "sleeper" in host_console.read_text("waiting\r\nkeuos> ")


def test_a_hostile_line_neither_breaks_nor_stops_the_console(host_console: HostConsole) -> None:
    generator = random.Random(4242)
    operations = [
        "hello",
        "ping",
        "info",
        "files",
        "processes",
        "channels",
        "events",
        "spawn",
        "start",
        "kill",
        "process",
        "read",
        "write",
        "drop",
        "bind",
        "unbind",
        "grant",
        "hil",
        "",
        "x" * 40,
    ]
    names = [
        "nonce",
        "from",
        "name",
        "args",
        "core",
        "priority",
        "suspended",
        "pid",
        "address",
        "bytes",
        "data",
        "producer",
        "consumer",
        "mode",
        "order",
        "label",
        "channel",
        "how",
        "to",
        "what",
        "rights",
        "code",
    ]

    def value() -> object:
        return generator.choice(
            [
                generator.randrange(4),
                generator.randrange(5, 40),
                MEMORY_BASE + generator.randrange(70000),
                2**64 - 1,
                -1,
                None,
                True,
                1.5,
                "sleeper",
                "hello",
                "",
                "x" * generator.randrange(200),
                bytes(generator.randrange(3500)),
                [1, [2]],
            ]
        )

    for _ in range(60):
        stream = bytearray()
        for _ in range(40):
            kind = generator.randrange(6)
            frame = bytearray(
                make_frame(
                    {"id": generator.randrange(1, 50), "op": generator.choice(operations)}
                    | {name: value() for name in generator.sample(names, generator.randrange(len(names)))}
                )
            )
            if kind == 0:
                stream += generator.randbytes(generator.randrange(300))
            elif kind == 1:
                frame[generator.randrange(len(frame))] = generator.randrange(256)
                stream += frame
            elif kind == 2:
                del frame[generator.randrange(len(frame))]
                stream += frame
            elif kind == 3:
                stream += generator.choice(
                    [b"spawn hello\r", b"ps\r", b"kill 7\r", b"\x15", b"\x7f\x7f", b"\x1b[A", b"\r\n"]
                )
            else:
                stream += frame
        host_console.send(bytes(stream))
        host_console.messages.clear()
        # The noise may have left a frame open, which takes the first of these with it.
        nonce = generator.randrange(2**32)
        host_console.send(make_frame({"id": 0, "op": "hello", "nonce": nonce}) * 2)
        host_console.wait_for(
            lambda: any(m.get("nonce") == nonce for m in host_console.messages),  # noqa: B023
            "a reply to hello",
        )
    assert host_console.close() == 0


# --- prompt ---


def test_help_names_every_command(host_console: HostConsole) -> None:
    host_console.send(b"help\r")
    text = host_console.read_text("keuos> ")
    for command in ("help", "ps", "spawn NAME", "kill PID", "channels", "events", "info", "reboot", "files"):
        assert f"\r\n{command}" in text


@pytest.mark.parametrize(
    "typed",
    [
        b"hepl\x7f\x7flp\r",
        b"hepl\x08\x08lp\r",
        b"\x7f\x7f\x7fhelp\r",
        b"junk\x15help\r",
        b"junk\x03help\r",
        b"he\x1b[A\x1b[3~\x1bOBlp\r",
        b"  help  \r\n",
        b"junk\xc3\xa4\x15help\n",
    ],
)
def test_what_is_typed_with_corrections_comes_out_as_help(host_console: HostConsole, typed: bytes) -> None:
    host_console.send(typed)
    assert "this list" in host_console.read_text("switch it off\r\nkeuos> ")


def test_a_line_with_bytes_that_nobody_types_is_not_carried_out(host_console: HostConsole) -> None:
    host_console.send(b"reb\x80oot\r")
    assert "not carried out" in host_console.read_text("\r\nkeuos> ")


def test_a_line_longer_than_the_editors_is_bounded(host_console: HostConsole) -> None:
    host_console.send(b"x" * 5000 + b"\r")
    assert "no command 'xxx" in host_console.read_text("lists them\r\nkeuos> ")


def test_the_end_of_a_process_spawned_at_the_prompt_is_told_in_words(host_console: HostConsole) -> None:
    host_console.send(b"spawn hello\r")
    assert "[5] hello on core 1" in host_console.read_text("[5] hello: exit 0")
    host_console.send(b"spawn faulty\r")
    host_console.read_text("[6] faulty: read fault at 0xdeadbeef (code at 0x400000)")
    host_console.send(b"spawn sleeper @0 with arguments\r")
    host_console.read_text("[7] sleeper on core 0")
    host_console.send(b"kill 7\r")
    host_console.read_text("[7] sleeper: killed by [1]")
    assert host_console.messages == []
    host_console.send(b"ps\r")
    assert "hello" not in host_console.read_text("STATE\r\nkeuos> ")


def test_a_notice_keeps_the_line_being_typed(host_console: HostConsole) -> None:
    host_console.send(b"spawn hello\rhel")
    host_console.read_text("[5] hello: exit 0\r\nkeuos> hel")
    host_console.send(b"p\r")
    host_console.read_text("this list")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"nix", "no command 'nix'; 'help' lists them"),
        (b"spawn", "expected NAME [@CORE] [+net] [ARGUMENTS]"),
        (b"spawn nothere", "no file 'nothere' in the initrd; 'files' lists them"),
        (b"spawn hello @x", "expected a core's number behind '@', got '@x'"),
        (b"spawn hello @77", "core 77 does not exist; 'info' shows how many there are"),
        (b"spawn " + b"x" * 40, "a name of 1 to 31"),
        (b"kill", "expected a process's number, got ''"),
        (b"kill abc", "expected a process's number, got 'abc'"),
        (b"kill 99999999999", "expected a process's number"),
        (b"kill 4 5", "expected a process's number, got '4 5'"),
        (b"kill 4", "no process 4 that was spawned from here"),
        (b"events 3 x", "expected the number to start at, got '3 x'"),
        (b"ps  -a", "ps: expected nothing behind it, got '-a'"),
        (b"events x", "expected the number to start at, got 'x'"),
        (b"reboot now", "expected nothing or 'off', got 'now'"),
        (b"reboot off now", "expected nothing or 'off', got 'off now'"),
        (b"net off extra", "net: expected nothing, 'off' or 'resolve' and a name, got 'off extra'"),
        (b"net  resolve ", "net: expected nothing, 'off' or 'resolve' and a name, got 'resolve'"),
        (b"net off", "net: there is no NetD"),
    ],
)
def test_a_command_says_what_it_expected(host_console: HostConsole, typed: bytes, answer: str) -> None:
    host_console.send(typed + b"\r")
    assert answer in host_console.read_text("\r\nkeuos> ").partition("\r\n")[2]


@pytest.mark.parametrize("typed", [b"net", b"net resolve www.example", b"spawn hello +net", b"spawn hello @0 +net x"])
def test_what_needs_netd_says_in_one_line_that_there_is_none(host_console: HostConsole, typed: bytes) -> None:
    what = typed.split()[0].decode()
    host_console.send(typed + b"\rfiles\r")
    expected = f"\r\n{what}: there is no NetD: 'spawn netd ip=A.B.C.D/BITS gw=A.B.C.D' starts one\r\nkeuos> files\r\n"
    assert host_console.read_text("FILE") == typed.decode() + expected + "FILE"


def test_a_second_netd_is_refused_and_the_first_stays_the_one_that_programs_get(host_console: HostConsole) -> None:
    host_console.send(b"spawn netd\r")
    host_console.read_text("[5] netd on core 1\r\nkeuos> ")
    host_console.send(b"spawn netd bad\r")
    assert (
        host_console.read_text("keuos> ")
        == "spawn netd bad\r\nspawn: NetD already serves as [5]; 'net off' ends it\r\nkeuos> "
    )
    host_console.send(b"spawn sleeper +net\r")
    host_console.read_text("[6] sleeper on core 1\r\nkeuos> ")  # bound and started, or a line would say why not
    host_console.send(b"ps\r")
    assert re.search(r"\b6 sleeper .* waiting", host_console.read_text("\r\nkeuos> "))
    host_console.send(b"net off\r")
    host_console.read_text("[5] netd: killed by [1]")


def let_half_a_second_pass(console: HostConsole) -> None:
    """The console waits that long for the rest of a frame."""
    console.send(b"\0half a frame")
    console.fall_silent()


def test_a_netd_that_dies_is_started_again_but_not_one_that_refused_its_arguments_late(
    host_console: HostConsole,
) -> None:
    host_console.send(b"spawn netd late\r")
    host_console.read_text("[5] netd on core 1\r\nkeuos> ")
    let_half_a_second_pass(host_console)
    host_console.read_text("[5] netd: exit 2")
    host_console.send(b"net off\r")
    assert "started again" not in host_console.read_text("net: there is no NetD")
    host_console.send(b"spawn netd\r")
    host_console.read_text("[6] netd on core 1\r\nkeuos> ")
    let_half_a_second_pass(host_console)
    host_console.send(b"kill 6\r")
    host_console.read_text("[7] netd: started again")


def test_events_and_info_speak_in_words(host_console: HostConsole) -> None:
    host_console.send(b"events 0\rinfo\r")
    words = "UXN WXN" if platform.machine() == "aarch64" else "NX WP"
    text = host_console.read_text(f"features    {words}\r\n")
    assert "gate OK on channel 0" in text
    assert "'events 20' shows more" in text
    assert "2, counter at 1000000 kHz" in text


def test_requests_and_text_may_be_cut_anywhere(host_console: HostConsole) -> None:
    stream = b"".join(make_frame({"id": n, "op": "ping"}) + b"ps\r" for n in range(1, 6))
    for byte in stream:
        host_console.send(bytes([byte]))
    for n in range(1, 6):
        assert cbor2.dumps(host_console.reply_to(n)) == cbor2.dumps({"id": n, "ok": True})
    for _ in range(5):
        host_console.read_text("STATE\r\n")
