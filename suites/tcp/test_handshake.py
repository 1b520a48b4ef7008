"""Opening: who says what, in which order, with which numbers."""

from __future__ import annotations

import pytest

from keuos_hil.net import wire
from keuos_hil.net.tcp import Stack

pytestmark = pytest.mark.needs("link", "sockets")


@pytest.mark.requirement("9293:S-04")
def test_a_syn_is_answered_with_the_number_behind_it(net: Stack) -> None:
    c, listener = net.listening()
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    assert listener.accept().peer == (wire.dotted(c.source), c.port)
