"""TCP and what is below it on the wire: each case is a conversation that a peer holds with the target.

What lives here: cases, the oracle that says what RFC 9293 has a state do with a segment (:mod:`.oracle`), and the known
deviations of stacks that are no fault of a case (deviations.toml). What must not: frames and counting, which are
:mod:`keuos_hil.net`, and knowledge of a target beyond what its capabilities say.
"""
