"""The ring suite: what a message costs, and that none is lost, changed or made up.

The programs kernel/user/ring_* do the work on the target; this package sets their parameters, starts them, and judges
and records what they left. Nothing here asserts a time: figures go to the results, and only correctness fails a test.
"""
