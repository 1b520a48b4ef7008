"""Faults put into the kernel and NetD on purpose, one at a time, to see which test notices: a test of the tests.

    catalogue.py  what a fault is, and the files of faults (kernel.toml, netd.toml) read and checked: pure
    products.py   what faults are put into: how it is built, and tested
    workshop.py   a copy of the sources with one fault in it, built
    trial.py      the suites run on what was built, and what became of it
    __main__.py   `make mutants`: all faults, a table, a report

What must not live here: a check of the kernel or of NetD. A fault that survives is a missing test, which belongs into
suites/.
"""
