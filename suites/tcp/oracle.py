"""What RFC 9293, section 3.10.7, with RFC 5961's checks, has each state do with a segment that arrives. Pure.

A segment is named by its flags and by where its numbers lie relative to what the target expects; a reaction by what
goes out on the wire, and by what became of the connection. Where the text leaves a choice, several reactions are right.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Where SEG.SEQ lies: two before RCV.NXT, one before, at it, within the window, at its last byte, at its right edge,
#: far behind that. Where SEG.ACK lies: "una" at SND.UNA, "nxt" at SND.NXT, "unsent" behind SND.NXT.
POSITIONS = ("left", "before", "exact", "inside", "last", "edge", "right")
WINDOW = ("exact", "inside", "last")


@dataclass(frozen=True)
class Arrival:
    """A segment as the state's table sees it. `data` is a number of bytes."""

    flags: str
    seq: str = "exact"
    ack: str = "nxt"
    data: int = 0

    def __str__(self) -> str:
        parts = [self.flags or "none", self.seq]
        if "A" in self.flags and self.ack != "nxt":
            parts.append(self.ack)
        if self.data:
            parts.append("data")
        return "-".join(parts)


@dataclass(frozen=True)
class Reaction:
    """`wire`: "none", "ack", "rst" (its numbers follow from the segment), "syn-ack". `after`: "lives" or "gone"."""

    wire: str
    after: str


NOTHING = Reaction("none", "lives")
ACKED = Reaction("ack", "lives")


def closed(arrival: Arrival) -> set[Reaction]:
    """3.10.7.1: everything but a RST is answered by one."""
    return {Reaction("none" if "R" in arrival.flags else "rst", "gone")}


def listen(arrival: Arrival) -> set[Reaction]:
    """3.10.7.2, in its order: RST, ACK, SYN, anything else."""
    if "R" in arrival.flags:
        return {NOTHING}
    if "A" in arrival.flags:
        return {Reaction("rst", "lives")}
    if "S" in arrival.flags:
        found = {Reaction("syn-ack", "lives")}
        # The text has other control bits beside a SYN processed in SYN-RECEIVED; to throw a SYN with FIN away is common
        # practice.
        return found | {NOTHING} if "F" in arrival.flags else found
    return {NOTHING}


def syn_sent(arrival: Arrival) -> set[Reaction]:
    """3.10.7.3: SND.UNA is ISS, so an acceptable ACK is that of SND.NXT alone."""
    good = arrival.ack == "nxt"
    if "A" in arrival.flags and not good:
        return {NOTHING if "R" in arrival.flags else Reaction("rst", "lives")}
    if "R" in arrival.flags:
        return {Reaction("none", "gone") if "A" in arrival.flags else NOTHING}
    if "S" in arrival.flags:
        found = {ACKED if "A" in arrival.flags else Reaction("syn-ack", "lives")}
        return found | {NOTHING} if "F" in arrival.flags else found
    return {NOTHING}


def synchronised(state: str, arrival: Arrival) -> set[Reaction]:
    """3.10.7.4: SYN-RECEIVED (by passive open) and the states behind it."""
    waiting = state == "TIME-WAIT"
    if "R" in arrival.flags:
        if arrival.seq == "exact":
            # RFC 1337 advises to ignore it in TIME-WAIT.
            return {Reaction("none", "gone")} | ({NOTHING} if waiting else set())
        return {ACKED} if arrival.seq in WINDOW else {NOTHING}
    if "S" in arrival.flags:
        return _syn(state, arrival)
    if not _acceptable(arrival):
        return {ACKED}
    if "A" not in arrival.flags:
        return {NOTHING}
    if state == "SYN-RECEIVED" and arrival.ack != "nxt":
        return {Reaction("rst", "lives")}
    if arrival.ack == "unsent":
        # Of LAST-ACK and TIME-WAIT the text names only what may arrive.
        return {ACKED} | ({NOTHING} if state in ("LAST-ACK", "TIME-WAIT") else set())
    return {NOTHING} | ({ACKED} if waiting else set())


def _syn(state: str, arrival: Arrival) -> set[Reaction]:
    if state == "SYN-RECEIVED":
        if arrival.seq in WINDOW:
            return {Reaction("none", "gone")}
        # The SYN again: its SYN-ACK may have been lost, so sending that once more serves as the ACK.
        return {ACKED, Reaction("syn-ack", "lives")}
    if state == "TIME-WAIT" and "A" not in arrival.flags and arrival.seq not in ("left", "before"):
        return {ACKED, Reaction("syn-ack", "new")}  # MAY-2
    return {ACKED}


def _acceptable(arrival: Arrival) -> bool:
    """The four cases of 3.10.7.4, for a window that is open."""
    return arrival.seq in WINDOW  # what the table has to the left ends before RCV.NXT


def react(state: str, arrival: Arrival) -> set[Reaction]:
    """Every right reaction of `state` to `arrival`."""
    special = {"CLOSED": closed, "LISTEN": listen, "SYN-SENT": syn_sent}
    return special[state](arrival) if state in special else synchronised(state, arrival)
