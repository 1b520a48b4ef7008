"""The built-in targets. Each module brings its target types through the hooks of :mod:`keuos_hil.hookspecs`.

A target puts parts together (keuos_hil.plugins) and says what ended it. Nothing imports these modules by name: they
are found through the entry-point group ``keuos_hil``.
"""
