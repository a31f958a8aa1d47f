"""Layout of the engine's arrays: control operations and the columns of an instruction.

Shared with timing/engine.py.
"""

from __future__ import annotations

# Scalar operations: operation, target register, then
LINEAR = 0  # x, y, cx, cy, c: cx * x + cy * y + c
TIMES = 1  # x, y: x * y
FLOOR = 2  # x, y: x // y, 0 where y is 0
LOWER = 3  # x, y: the smaller
LESS = 4  # x, y: 1 if x < y else 0
VALUE = 5  # table, index: its element, 0 outside
# Control operations: operation, then
ISSUE = 6  # instruction, cycles before it, number in text order
GUARD = 7  # register, saved: note whether they differ, save
SKIP = 8  # target: jump if no guard since the last SKIP noted a difference
NEXT = 9  # variable, counter, trips, step, stages, cycles, body, work
STAGE = 10  # stage, counter, trips, target: jump if the stage is not active
DECLARE = 11  # tile, slots: the tile takes its next slot
BRANCH = 12  # register, target: jump if zero
JUMP = 13  # target
SEQUENCER = 14  # cycles
RESET = 15  # saved: forget, so that the guard passes
LOOP = 16  # variable, counter, trips, start, stop, step, exit, cycles
FENCE = 17  # cycles before it, number in text order
ITEM = 18  # register of the item's number, cycles, work
CODE_WIDTH = 9
# Of NEXT and ITEM, against Limits.instructions: 1, and 1 for so many rows that may follow.
ROWS_A_WORK = 8

# Columns of `instructions`.
# MOVED: bytes; of compute, where asked for, MACs or elements.
# FLOW: cycles in which data flow through ports (matrix: where a block is loaded, else STREAM).
ENGINE, BASE, STREAM, LATENCY, MOVED, FLOW, STATIONARY = range(7)
KEY = 7  # five registers: first row, row step, first column, rows, columns; then, a constant:
TRANSPOSED, PASSES, LEAD, OPERANDS = range(12, 16)
FIRST_OPERAND = 16
# Per mention of a tile or tensor: first slot, slots (1: the slot never changes), tile, lag, flags;
# IN_SRAM, registers: a bank's share of the bytes, first and last byte in the slot (-1: all of it).
SHARE, FIRST_BYTE, LAST_BYTE = range(5, 8)
OPERAND_WIDTH = 8
MAX_OPERANDS = 6
INSTRUCTION_WIDTH = FIRST_OPERAND + OPERAND_WIDTH * MAX_OPERANDS
READS, WRITES, ADDS, IN_SRAM = 1, 2, 4, 8

ORDER_NUMBERS = {"block": 0, "cyclic": 1, "snake": 2, "dynamic": 3}

# Until a program is laid out, its rows name registers of their own numbering, as REGISTER + number,
# beyond every other number of a row: see scalars.py and layout.py.
REGISTER = 2**61
