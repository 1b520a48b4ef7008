"""The wire of a stand-in with several NICs: frames stay in order, and a NIC that nobody drives holds up no other."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .segment import Segment

ADDRESSES = ("52:54:00:12:34:56", "52:54:00:12:34:57")
FIRST, SECOND = (bytes.fromhex(address.replace(":", "")) for address in ADDRESSES)
EVERYBODY = b"\xff" * 6
COUNT = 300


def end(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    made.settimeout(10)
    return made


def frame(to: bytes, number: int) -> bytes:
    return to + number.to_bytes(8, "big")


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        here = Path(folder)
        nics = [(address, here / f"nic{number}") for number, address in enumerate(ADDRESSES)]
        with closing(Segment(here / "host", here / "link", nics, [here / "port0", here / "port1"])):
            yield here


def said_by(sender: socket.socket, to: Path, frames: list[bytes]) -> threading.Thread:
    """Sends all of it, each as soon as there is room."""

    def say() -> None:
        for one in frames:
            sender.sendto(one, str(to))

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("to", [FIRST, EVERYBODY])
def test_a_nic_that_is_driven_gets_all_frames_in_their_order_though_another_takes_none(place: Path, to: bytes) -> None:
    with closing(end(place / "host")) as host, closing(end(place / "nic0")) as nic, closing(end(place / "nic1")):
        nic.sendto(frame(FIRST, 0), str(place / "port0"))
        assert host.recv(100) == frame(FIRST, 0), "it is awake"
        sent = [frame(to, number) for number in range(COUNT)]
        thread = said_by(host, place / "link", sent)
        assert [nic.recv(100) for _ in sent] == sent
        thread.join(10)


def test_what_a_nic_sends_arrives_in_its_order(place: Path) -> None:
    with closing(end(place / "host")) as host, closing(end(place / "nic1")) as nic:
        sent = [frame(EVERYBODY, number) for number in range(COUNT)]
        thread = said_by(nic, place / "port1", sent)
        assert [host.recv(100) for _ in sent] == sent
        thread.join(10)


def test_a_frame_for_one_nic_goes_to_no_other_and_one_for_nobody_here_to_all(place: Path) -> None:
    with (
        closing(end(place / "host")) as host,
        closing(end(place / "nic0")) as nic,
        closing(end(place / "nic1")) as other,
    ):
        for number, to in enumerate((SECOND, FIRST, bytes(6))):
            host.sendto(frame(to, number), str(place / "link"))
        assert [nic.recv(100), nic.recv(100)] == [frame(FIRST, 1), frame(bytes(6), 2)]
        assert [other.recv(100), other.recv(100)] == [frame(SECOND, 0), frame(bytes(6), 2)]


def test_frames_for_a_board_that_is_off_are_lost_and_hold_nobody_up(place: Path) -> None:
    with closing(end(place / "host")) as host:
        for number in range(COUNT):
            host.sendto(frame(FIRST, number), str(place / "link"))
        with closing(end(place / "nic0")) as nic:
            host.sendto(frame(FIRST, COUNT), str(place / "link"))
            while nic.recv(100) != frame(FIRST, COUNT):
                pass
