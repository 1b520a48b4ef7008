"""The pytest suites. They see targets only through the fixtures of keuos_hil; run them with --target=NAME."""
