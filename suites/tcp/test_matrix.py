"""A segment arrives: each kind of segment, at each place of the sequence space, in each of the eleven states.

What must happen is predicted by :mod:`.oracle`; that it happened is read off the wire, and what became of the
connection is asked on the wire too.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net.seq import add, diff
from keuos_hil.net.tcp import STATES, Conversation, Stack
from keuos_hil.net.wire import ACK, RST, SYN, Segment

from .oracle import POSITIONS, Arrival, Reaction, react

pytestmark = pytest.mark.needs("link", "sockets")

_BEFORE = ("CLOSED", "LISTEN", "SYN-SENT")
_ANY = ("", "F", "S", "SF", "SP", "R", "RA", "A", "SA", "FA", "PA", "UPF", "RSFA")
_AGAINST = (
    *(Arrival("R", seq) for seq in POSITIONS),
    *(Arrival("RA", seq) for seq in ("exact", "inside", "right")),
    *(Arrival("S", seq) for seq in ("left", "before", "exact", "inside", "right")),
    *(Arrival("SA", seq) for seq in ("left", "exact", "inside")),
    Arrival("A", ack="una"),
    Arrival("A", ack="unsent"),
    *(Arrival("PA", seq, data=1) for seq in ("left", "edge", "right")),
    *(Arrival("FA", seq) for seq in ("left", "right")),
    Arrival("P", data=10),
    Arrival("F"),
    Arrival(""),
)


def _arrivals(state: str) -> Iterator[Arrival]:
    if state in ("CLOSED", "LISTEN"):
        for flags in _ANY:
            yield Arrival(flags)
        yield from (Arrival(flags, data=10) for flags in ("", "A", "S", "FA"))
    elif state == "SYN-SENT":
        for flags in ("", "F", "S", "SF", "P", "R"):
            yield Arrival(flags)
        for flags in ("A", "SA", "RA", "FA", "PA"):
            for ack in ("una", "nxt", "unsent"):
                yield Arrival(flags, ack=ack, data=10 if flags == "PA" else 0)
    else:
        yield from _AGAINST


def _requirements(state: str, arrival: Arrival) -> tuple[str, ...]:
    if state == "CLOSED":
        return ("9293:S-02" if "R" in arrival.flags else "9293:S-01",)
    if state == "LISTEN":
        return ("9293:S-04",) if arrival.flags in ("S", "SP") else ("9293:S-03",)
    if state == "SYN-SENT":
        if "R" in arrival.flags:
            return ("9293:S-06",)
        return ("9293:S-07",) if arrival.flags in ("S", "SF") else ("9293:S-05",)
    if "R" in arrival.flags:
        if state == "TIME-WAIT" and arrival.seq == "exact":
            return "9293:S-19", "1337:1"
        where = {"exact": "5961:RST-1", "inside": "5961:RST-2", "last": "5961:RST-2"}.get(arrival.seq, "5961:RST-3")
        return "9293:S-19", where
    if "S" in arrival.flags:
        if state == "SYN-RECEIVED":
            return ("9293:S-09",)
        return ("9293:MAY-2",) if state == "TIME-WAIT" else ("5961:SYN-1",)
    if "A" not in arrival.flags:
        return ("9293:S-10",)
    if arrival.ack == "unsent":
        return ("9293:S-09",) if state == "SYN-RECEIVED" else ("9293:S-11",)
    return ("9293:S-08",)


def _cases() -> Iterator[object]:
    for state in STATES:
        for arrival in _arrivals(state):
            mark = pytest.mark.requirement(*_requirements(state, arrival))
            yield pytest.param(state, arrival, id=f"{state}-{arrival}", marks=mark)


@pytest.mark.parametrize(("state", "arrival"), list(_cases()))
def test_a_state_reacts_to_a_segment_as_the_standard_says(net: Stack, state: str, arrival: Arrival) -> None:
    c = net.state(state)
    seq, ack = _numbers(c, state, arrival)
    c.tx(arrival.flags, seq=seq, ack=ack if "A" in arrival.flags else 0, data=bytes(arrival.data), remark=str(arrival))
    c.host.fence()
    # In real time a SYN may be sent again meanwhile; after a RST that it ignores Linux does so within milliseconds.
    again = state == "SYN-SENT" and not c.host.clock.winds
    came = [segment for segment in c.segments if not (again and segment.flags == SYN and segment.seq == c.irs)]
    c.segments.clear()
    wire = _read(c, arrival, came, seq, ack)
    right = react(state, arrival)
    if wire not in {reaction.wire for reaction in right}:
        raise c.host.failure(f"{state}, {arrival}: expected {_told(right)}, and the answer on the wire was {wire}")
    _ask(c, state, {reaction.after for reaction in right if reaction.wire == wire}, wire)


def _told(right: set[Reaction]) -> str:
    return " or ".join(sorted(f"{reaction.wire} ({reaction.after})" for reaction in right))


def _numbers(c: Conversation, state: str, arrival: Arrival) -> tuple[int, int]:
    if state in _BEFORE:
        seq = c.iss
        base = c.rcv if state == "SYN-SENT" else 0x5150_5150
        return seq, add(base, {"una": -1, "nxt": 0, "unsent": 1}[arrival.ack])
    window = diff(c.edge, c.snd)
    places = {
        "left": -2,
        "before": -1,
        "exact": 0,
        "inside": 10,
        "last": window - 1,
        "edge": window,
        "right": window + 1000,
    }
    seq = add(c.snd, places[arrival.seq])
    unacknowledged = state in ("SYN-RECEIVED", "FIN-WAIT-1", "CLOSING", "LAST-ACK")
    acks = {"una": -1 if unacknowledged else 0, "nxt": 0, "unsent": 1}
    return seq, add(c.rcv, acks[arrival.ack])


def _read(c: Conversation, arrival: Arrival, came: list[Segment], seq: int, ack: int) -> str:
    """The answer in the oracle's words; every number of it is checked here."""
    if not came:
        return "none"
    if len(came) > 1:
        raise c.host.failure(f"expected one answer at most, and {len(came)} came")
    segment = came[0]
    kind = segment.flags & (SYN | ACK | RST)
    if kind & RST:
        _check_reset(c, arrival, segment, seq, ack)
        return "rst"
    if kind == SYN | ACK:
        _expect(c, "ack of the SYN-ACK", segment.ack, add(seq, 1) if "S" in arrival.flags else c.snd)
        return "syn-ack"
    if kind == ACK:
        answered = add(seq, 1) if "S" in arrival.flags and c.app is not None and not c.rules.last_ack else segment.ack
        _expect(c, "ack", segment.ack, answered)
        return "ack"
    raise c.host.failure("expected an ACK, a SYN-ACK or a RST")


def _check_reset(c: Conversation, arrival: Arrival, segment: Segment, seq: int, ack: int) -> None:
    if "A" in arrival.flags:
        _expect(c, "seq of the RST", segment.seq, ack)
        if segment.flags & ACK:
            raise c.host.failure("a RST that answers a segment with ACK bears no ACK itself")
        return
    length = arrival.data + ("S" in arrival.flags) + ("F" in arrival.flags)
    _expect(c, "seq of the RST", segment.seq, 0)
    _expect(c, "ack of the RST", segment.ack, add(seq, length))
    if not segment.flags & ACK:
        raise c.host.failure("a RST that answers a segment without ACK bears one itself")


def _expect(c: Conversation, what: str, has: int, wanted: int) -> None:
    if has != wanted:
        raise c.host.failure(f"{what}: expected {wanted}, found {has} ({diff(has, wanted):+d})")


def _ask(c: Conversation, state: str, after: set[str], wire: str) -> None:
    """What became of the connection."""
    if state == "CLOSED" or "new" in after or len(after) > 1:
        return
    if state == "LISTEN":
        if wire != "syn-ack":
            c.tx("S", seq=add(c.iss, 1_000_000))
            c.rx("SA", ack=add(c.iss, 1_000_001))
    elif state == "SYN-SENT":
        _ask_syn_sent(c, after, wire)
    elif after == {"gone"}:
        c.gone()
    else:
        c.alive()


def _ask_syn_sent(c: Conversation, after: set[str], wire: str) -> None:
    if after == {"gone"}:
        with pytest.raises(SocketError, match=r"ECONNREFUSED|ECONNRESET"):
            c.sock.recv(1, 0)
    elif wire == "none" or wire == "rst":
        c.tx("SA", seq=c.iss, ack=c.rcv)
        c.rx("A", ack=add(c.iss, 1))
    elif wire == "ack":
        c.snd = add(c.iss, 1)
        c.alive()
