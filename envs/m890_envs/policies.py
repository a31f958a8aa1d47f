"""Saved policies: .npz files of plain arrays, read without torch and without pickle.

A file holds `policy.npy`, the facts and the policy's id as JSON in UTF-8, and for layer n
`weights_n.npy` (inputs, outputs) and `biases_n.npy` (outputs,), float32. The id follows from all of
them, so that a file in which anything has changed is refused.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from m890_envs.exact import Layer
from m890_envs.playing import PolicyAgent
from m890_envs.policy import MOST_LAYERS, Policy, PolicyError
from m890sim.agents.files import write_whole
from m890sim.agents.reading import RunError, parse_json, read_bounded
from m890sim.messages import described

FORMAT, VERSION = "m890sim policy", 1
MOST_BYTES = 5_000_000  # of a file
MOST_UNPACKED = 40_000_000  # of all its arrays
MOST_FACTS = 200_000  # bytes of the JSON
_FACTS = "policy"
_DATE = (1980, 1, 1, 0, 0, 0)  # of all members: one policy is one file, byte for byte
# What NumPy writes for such arrays; its own reader takes memory for what a header promises.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)(?P<header>\{'descr': '(?P<dtype><f4|\|u1)', "
    rb"'fortran_order': False, 'shape': \((?P<shape>[0-9]{1,9}, ?[0-9]{0,9})\), \} *\n)",
    re.DOTALL,
)
_FURTHER = re.compile(r"-[1-9][0-9]*(-|$)")  # in a name: trained again with another seed
_DTYPES = {b"<f4": "<f4", b"|u1": "u1"}

Arrays = dict[str, np.ndarray[Any, Any]]


def save_policy(policy: Policy, path: str | Path) -> None:
    """Write a policy to a file, replaced as a whole.

    Raises: PolicyError where it would be larger than MOST_BYTES or can't be written; TypeError.
    """
    if not isinstance(policy, Policy):
        raise TypeError(f"policy must be a Policy, not {described(policy)}")
    facts = {"format": FORMAT, "version": VERSION, "id": policy.id, **policy.facts}
    text = json.dumps(facts, sort_keys=True, allow_nan=False).encode("utf-8")
    arrays: Arrays = {_FACTS: np.frombuffer(text, dtype=np.uint8)}
    for number, (weights, biases) in enumerate(policy.layers):
        arrays |= {f"weights_{number}": weights, f"biases_{number}": biases}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, member.getvalue())
    size = len(buffer.getvalue())
    if size > MOST_BYTES or len(text) > MOST_FACTS:
        raise PolicyError(
            f"{path}: the policy takes {size:,} bytes and its facts {len(text):,}; at most "
            f"{MOST_BYTES:,} and {MOST_FACTS:,} are read: use fewer fields or a smaller layer"
        )
    try:
        write_whole(Path(path), buffer.getvalue())
    except RunError as error:
        raise PolicyError(str(error)) from error


def load_policy(path: str | Path) -> Policy:
    """The policy of a file that anyone may have made.

    Raises: PolicyError for what is none, is damaged or larger than MOST_BYTES, or was made for
    other observations or actions than there are here.
    """
    try:
        data = read_bounded(Path(path), MOST_BYTES)
    except RunError as error:
        raise PolicyError(str(error)) from error
    try:
        return _policy(_arrays(data))
    except (ValueError, TypeError, KeyError) as error:
        raise PolicyError(f"{path} is no policy that can be played here: {error}") from error


def packaged_policies() -> list[str]:
    """The files of the policies that come with this package, one training of each kind.

    They stand among the baselines of `m890 bench`: what was trained, and the same untrained.
    """
    folder = Path(__file__).parent / "trained"
    return [str(file) for file in sorted(folder.glob("*.npz")) if not _FURTHER.search(file.stem)]


def load_agent(path: str | Path) -> PolicyAgent:
    """The agent that plays the policy of a file. Raises: PolicyError."""
    return PolicyAgent(load_policy(path))


def _policy(arrays: Arrays) -> Policy:
    if _FACTS not in arrays or arrays[_FACTS].dtype != np.uint8 or arrays[_FACTS].ndim != 1:
        raise ValueError(f"it has no {_FACTS}.npy of bytes")
    if arrays[_FACTS].size > MOST_FACTS:
        raise ValueError(f"its facts have {arrays[_FACTS].size:,} bytes, at most {MOST_FACTS:,}")
    facts = parse_json(arrays.pop(_FACTS).tobytes())
    if not isinstance(facts, dict):
        raise ValueError(f"its facts are {described(facts)}")
    form, version, own = (facts.pop(key, None) for key in ("format", "version", "id"))
    if form != FORMAT:
        raise ValueError(f"its format is {described(form)}, not {FORMAT!r}")
    if type(version) is not int or version != VERSION:
        raise ValueError(f"its version is {described(version)}, this package reads {VERSION}")
    count = len(arrays) // 2
    names = [f"{part}_{n}" for n in range(count) for part in ("weights", "biases")]
    if sorted(arrays) != sorted(names):
        raise ValueError(f"it has the arrays {', '.join(sorted(arrays)) or 'none'}")
    layers: list[Layer] = [(arrays[f"weights_{n}"], arrays[f"biases_{n}"]) for n in range(count)]
    wanted = {"activation", "name", "trained", "provenance", "fields"}
    wanted |= {"horizon", "sites", "action_rows"}
    if facts.keys() != wanted:
        odd = ", ".join(sorted(described(key) for key in facts.keys() ^ wanted))
        raise ValueError(f"its facts lack, or have beside theirs: {odd}")
    policy = Policy(layers, **facts)
    if own != policy.id:
        raise ValueError(f"its id is {described(own)}, its content has {policy.id}; it was changed")
    return policy


def _arrays(data: bytes) -> Arrays:
    """The arrays of an .npz file, whose sizes are known before anything is unpacked.

    Raises: ValueError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
            if len(members) > 1 + 2 * MOST_LAYERS:
                raise ValueError(f"it has {len(members)} members")
            size = sum(member.file_size for member in members)
            if size > MOST_UNPACKED:
                raise ValueError(f"it unpacks to {size:,} bytes, at most {MOST_UNPACKED:,} are")
            found: Arrays = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("its members are stored, or packed by deflate")
                if name in found:
                    raise ValueError(f"it has {described(member.filename)} twice")
                with file.open(member) as stream:
                    content = stream.read(member.file_size + 1)
                found[name] = _array(content)
            return found
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise ValueError(f"it is no .npz file that is whole: {error}") from error


def _array(content: bytes) -> np.ndarray[Any, Any]:
    """An array of a .npy member: of float32 or bytes, in C order, and as long as it says."""
    found = _HEADER.match(content)
    if found is None or int.from_bytes(found["length"], "little") != len(found["header"]):
        raise ValueError("a member is no array of float32 or bytes in C order (.npy, version 1.0)")
    shape = tuple(int(size) for size in found["shape"].split(b",") if size.strip())
    dtype = np.dtype(_DTYPES[found["dtype"]])
    rest = content[found.end() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"an array of shape {described(shape)} has {len(rest):,} bytes")
    return np.frombuffer(rest, dtype=dtype).reshape(shape)


__all__ = ["Policy", "PolicyAgent", "PolicyError", "load_agent", "load_policy", "save_policy"]
