"""`python -m cli` is `paydown`."""

import sys

from cli.main import main

sys.exit(main())
