"""What the network suites stand on: wire formats, a peer that does only what it is told, invariants, transcripts.

What lives here: reading and writing frames (:mod:`.wire`), the test's end of the wire (:mod:`.host`, :mod:`.tcp`), what
must hold of every frame received (:mod:`.invariants`), and the target's application side (:mod:`.sockets`). What must
not: cases, which are the suites', and targets.
"""
