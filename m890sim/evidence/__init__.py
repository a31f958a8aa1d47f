"""Evidence: records of runs are verified, packed as submissions, and ranked."""

from m890sim.evidence.record import Record, read_record
from m890sim.evidence.submission import pack, submit
from m890sim.evidence.verification import Verification, verify

__all__ = ["Record", "Verification", "pack", "read_record", "submit", "verify"]
