"""The boot suite: the kernel comes up whole, talks to a person and to a host, and its ends are seen for what they are.

What a process may do to the machine is the gates suite's; what a message costs is the ring suite's.
"""
