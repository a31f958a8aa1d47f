"""Digests of plain data: by them a record names what it depends on."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def digest_of(value: Any) -> str:
    """SHA-256 (64 hex digits) of plain data, dataclasses by their class and fields.

    Equal values have equal digests in every process and on every machine.
    Raises: TypeError for what is no plain data, so that no address gets into a digest.
    """
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def class_name(kind: type) -> str:
    """A class of the package by its bare name, any other one with its module.

    So no class from elsewhere has the digest of one from here by bearing its name.
    """
    module = sys.modules.get(kind.__module__)
    name: str = kind.__name__
    if kind.__module__.split(".")[0] == __package__ and getattr(module, name, None) is kind:
        return name
    return f"{kind.__module__}:{kind.__qualname__}"


def plain(value: Any) -> Any:
    """The value as JSON has it; floats as their exact hexadecimal text."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value.hex()
    if is_dataclass(value) and not isinstance(value, type):
        found = {entry.name: plain(getattr(value, entry.name)) for entry in fields(value)}
        return {"is": class_name(type(value)), **found}
    if isinstance(value, (tuple, list)):
        return [plain(entry) for entry in value]
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    raise TypeError(f"a digest takes plain data, not {type(value).__name__}")
