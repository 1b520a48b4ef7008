"""Parts that targets are put together from: emulator processes, their control sockets, guest memory, wires.

Each file is one part and knows nothing of the others' insides. Called by targets, the built-in ones and a stranger's;
never by keuos_hil or by suites.
"""
