"""The IR of the tile language and its printer."""

from m890sim.kernel.computed import computed as computed
from m890sim.kernel.ir import *  # noqa: F403
from m890sim.kernel.printer import digest as digest
from m890sim.kernel.printer import print_kernel as print_kernel
