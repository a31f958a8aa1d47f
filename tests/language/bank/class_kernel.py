from m890sim.lang import *


@kernel
class K:
    pass
