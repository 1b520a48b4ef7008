"""`python -m keuos_hil`: see :mod:`keuos_hil.cli`."""

import sys

from .cli import main

sys.exit(main())
