"""Nothing but what pytest wants at the root: the framework itself arrives through its pytest11 entry point."""

pytest_plugins = ("pytester",)
