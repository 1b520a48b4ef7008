"""Kernels that only print: their lines, of the form that keuos_hil.printed describes, as tests. Needs --kernel."""
