from m890sim.lang import *
