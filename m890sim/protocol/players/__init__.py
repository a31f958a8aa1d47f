"""Players: programs that play a session as a model would, through its tools and texts alone.

They are baselines, and a way to try every interface without a model. A player is a function of a
`Served` session; it ends with submit, and the same player runs in this process and over
the Model Context Protocol. `blind` and what it uses import the standard library alone.
"""

from m890sim.protocol.players.served import Player, Served

__all__ = ["Player", "Served"]
