"""Agents that were trained: a fixed list of moves, and a model that proposes moves."""
