"""The shortest ways through."""

from __future__ import annotations


def test_a_connection_echoes_and_ends_in_good_order(stack, accepted):
    peer, socket = accepted()
    assert stack.state(socket) == "ESTABLISHED"
    peer.tx("P.", b"hello")
    assert stack.recv(socket) == b"hello"
    stack.write(socket, b"world")
    assert peer.take() == b"world"
    peer.tx("F.")
    assert stack.recv(socket) == b""
