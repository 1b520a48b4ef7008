"""Boards that are not there: emulated ones behind a tty, with a switch for their power and a line that damages bytes.

They let the target `board` be tested without hardware; it sees nothing but a tty. `bench.py` is a board, `damage.py`
what happens on its line, `switch.py` the program that its power part calls. `python -m tests.standin arm64` keeps one
running for a person and prints its configuration.
"""
