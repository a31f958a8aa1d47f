"""PLAYERS: every player by name."""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.protocol.players.blind import play_blind
from m890sim.protocol.players.hinted import play_hinted
from m890sim.protocol.players.served import Player


@dataclass(frozen=True, slots=True)
class PlayerRow:
    """A player; docs: the level of documentation that it needs."""

    play: Player
    docs: str
    text: str


PLAYERS = {
    "blind": PlayerRow(
        play_blind, "none", "knows the reference alone: changes lines, reads errors, keeps gains"
    ),
    "hinted": PlayerRow(
        play_hinted, "full", "reads profiles, changes the text as they say, takes suggestions"
    ),
}
