"""`python -m m890sim.cli`, the same as `m890`."""

import sys

from m890sim.cli import main

sys.exit(main())
