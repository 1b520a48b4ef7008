"""Frames and the repeating client, against a model of an agent behind a line that damages, loses and doubles."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, Refused, Reset, Silent, WaitTimeout
from keuos_hil.protocol import frames
from keuos_hil.protocol.client import Client
from keuos_hil.streams import SocketStream
from tests.agent_model import Agent, Line, faulty, frame


@pytest.fixture
def model():
    """(console, agent); `connect(fault)` for a line that spoils."""
    things = []

    def connect(fault=None):
        host, far = socket.socketpair()
        if fault is None:
            agent = Agent(far)
            sockets = [far]
        else:
            middle, agent_end = socket.socketpair()
            Line(far, middle, fault)
            agent = Agent(agent_end)
            sockets = [far, middle, agent_end]
        console = Console(SocketStream(host))
        things.append((console, sockets))
        return console, agent

    yield connect
    for console, sockets in things:
        for end in sockets:
            end.close()
        console.close()


MESSAGES = st.dictionaries(
    st.text(max_size=8),
    st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=300), st.text(max_size=20), st.booleans()),
)


@given(MESSAGES)
def test_a_frame_decodes_to_what_was_encoded(message):
    encoded = frames.encode(message)
    assert encoded[0] == encoded[-1] == 0
    assert 0 not in encoded[1:-1]
    assert frames.decode(encoded[1:-1]) == message


@given(MESSAGES, st.data())
def test_a_flipped_bit_is_never_taken_for_a_message(message, data):
    encoded = bytearray(frames.encode(message)[1:-1])
    at = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[at // 8] ^= 1 << at % 8
    assert frames.decode(bytes(encoded)) is None


@given(
    st.lists(st.one_of(st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"")), MESSAGES), max_size=6), st.data()
)
def test_text_and_frames_are_parted_however_the_stream_is_cut(parts, data):
    stream = b"".join(part if isinstance(part, bytes) else frames.encode(part) for part in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    splitter, text, messages = frames.Splitter(), b"", []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        more, found = splitter.feed(stream[start:end])
        text += more
        messages += found
    assert messages == [part for part in parts if not isinstance(part, bytes)]
    assert text + splitter.flush() == b"".join(part for part in parts if isinstance(part, bytes))


@given(st.binary(max_size=300))
def test_noise_is_text_and_costs_at_most_the_frame_it_touches(noise):
    splitter = frames.Splitter()
    message = {"id": 1, "ok": True}
    _, found = splitter.feed(noise + frames.encode(message) + frames.encode(message))
    assert found
    assert found[-1] == message


@given(MESSAGES, st.binary(min_size=1, max_size=80).map(lambda b: b.replace(b"\0", b" ")), st.data())
def test_text_that_comes_inside_a_frame_costs_that_frame_and_no_other(message, words, data):
    cut = frames.encode(message)
    at = data.draw(st.integers(1, len(cut) - 1))
    splitter = frames.Splitter()
    _, found = splitter.feed(cut[:at] + words + cut[at:] + frames.encode({"id": 1}))
    assert found == [{"id": 1}]


def test_a_message_that_fits_no_frame_is_refused():
    with pytest.raises(ValueError, match="at most 4096"):
        frames.encode({"data": bytes(4096)})


def test_a_request_is_answered_and_text_goes_to_the_console(model):
    console, _ = model()
    client = Client(console)
    assert client.hello()["agent"] == "model"
    assert client.request("add", n=3)["total"] == 3
    client.request("shout", text=b"hello, person\r\nkeuos> ")
    assert console.expect(b"person\r\nkeuos> $", 5)
    assert client.request("big", bytes=3072)["data"] == bytes(i % 256 for i in range(3072))


def test_a_refusal_carries_code_and_text(model):
    client = Client(model()[0], lambda code: {100: "unknown operation"}.get(code, ""))
    client.hello()
    with pytest.raises(Refused, match=r"nonsense.*unknown operation \(100\).*no operation nonsense") as caught:
        client.request("nonsense")
    assert caught.value.code == 100


@pytest.mark.parametrize("seed", range(6))
def test_a_faulty_line_costs_time_and_nothing_else(model, seed):
    console, agent = model(faulty(seed, 0.002))
    client = Client(console)
    client.hello()
    before = agent.carried_out
    for n in range(1, 31):
        assert client.request("add", 20.0, n=n)["total"] == n * (n + 1) // 2
    assert agent.carried_out - before == 30
    assert client.repeats > 0


def test_an_agent_that_answers_nothing_is_silent_long_before_anything_else_times_out(model):
    console, agent = model()
    client = Client(console)
    client.hello()
    agent.mute = True
    with pytest.raises(Silent, match=r"no answer to 'ping' within 0.5 s, asked \d+ times"):
        client.request("ping", 0.5)
    assert isinstance(console.interrupted, Silent)


def test_an_agent_that_still_answers_what_was_asked_before_is_behind_and_not_silent(model):
    console, agent = model()
    client = Client(console)
    client.hello()
    client.request("add", n=1)
    agent.mute = True

    def catch_up():
        for _ in range(8):
            time.sleep(0.3)
            agent.say(frame({"id": 1, "ok": True, "total": 1}))
        agent.mute = False

    thread = threading.Thread(target=catch_up)
    thread.start()
    assert client.request("add", 0.5, n=2)["total"] == 3
    thread.join()


def test_whatever_ends_the_target_ends_a_request(model):
    console, agent = model()
    client = Client(console)
    client.hello()
    agent.mute = True
    agent.say(b"KeuOS 1.0 again\r\nKeuOS 1.0 again\r\n")
    with pytest.raises(Reset) as caught:
        client.request("ping", 60.0)
    assert "answer to 'ping'" in caught.value.__notes__[0]


def test_an_unasked_reply_and_a_stranger_s_hello_are_not_taken_for_ours(model):
    console, agent = model()
    client = Client(console)
    agent.say(frame({"id": 0, "ok": True, "nonce": 1, "protocol": 9, "agent": "an earlier session's"}))
    agent.say(frame({"id": 1, "ok": True, "total": 99}))
    assert client.hello()["agent"] == "model"
    assert client.request("add", n=1)["total"] == 1


def test_events_wait_in_the_queue_until_somebody_wants_them(model):
    client = Client(model()[0])
    client.hello()
    client.request("exit", pid=3)
    client.request("exit", pid=4)
    assert client.event(lambda e: e.get("pid") == 4, 5)["reason"] == 1
    assert [e["pid"] for e in client.pending_events() if e["event"] == "exit"] == [3]
    with pytest.raises(WaitTimeout):
        client.event(lambda e: e.get("pid") == 5, 0.05)


def test_the_clock_that_counts_is_the_target_s(model):
    """A target whose host gives it no processor has not had its time yet."""
    console, agent = model()
    client = Client(console)
    client.hello()
    agent.mute = True
    real = time.monotonic
    start = real()
    console.clock = lambda: start + (real() - start) / 10
    threading_start = real()
    with pytest.raises(Silent):
        client.request("ping", 0.1)
    assert real() - threading_start >= 1.0


def test_a_line_that_ends_leaves_its_text(model):
    console, agent = model()
    agent.say(b"last words")
    agent.end.shutdown(socket.SHUT_WR)
    assert console.line_ended(5)
    assert console.since(0) == b"last words"


def test_writing_to_a_closed_line_does_nothing():
    host, far = socket.socketpair()
    line = SocketStream(host)
    line.close()
    line.write(b"too late", 1.0)
    far.close()


def test_a_log_that_can_not_be_written_is_the_bench_s_fault():
    host, far = socket.socketpair()
    console = Console(SocketStream(host), log=Path("/dev/full"))
    try:
        far.send(b"some text\r\n")
        with pytest.raises(InfraError, match=r"the console's log can't be written: .*No space left"):
            console.expect("never", 60)
    finally:
        far.close()
        console.close()


def test_a_panic_is_told_by_its_last_line_and_goes_before_what_followed_from_it(model):
    console, agent = model()
    agent.say(b"KeuOS 1\r\nKEUOS PANIC: out of cheese\r\n  rip 1\r\nKEUOS PANIC END\r\n")
    console.interrupt(Reset("the guest reset the machine"))
    with pytest.raises(Ended, match=r"kernel panic: out of cheese"):
        console.expect("never", 60)
