"""The host's side of docs/hil-protocol.md: frames, and one request at a time that takes effect at most once.

What lives here: bytes to messages and back, and the repeating client. What must not: the meaning of an operation
(:mod:`keuos_hil.agent`) and serial lines (:mod:`keuos_hil.console`).
"""
