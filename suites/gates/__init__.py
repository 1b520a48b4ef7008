"""The gates suite: one misbehaviour at a time, and exactly the verdict, the punishment and the record that it deserves.

Verdicts are predicted in Python (keuos_hil.oracle) from the ELF files, the debug information and the channel's key,
which is read from outside; the kernel is never asked what it thinks.
"""
