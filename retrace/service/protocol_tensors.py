"""Messages of the Open Inference Protocol: a JSON head, and tensors of float32 in it or behind it.

https://github.com/kserve/open-inference-protocol, and the extension `binary_tensor_data`, which
puts the numbers behind the head, little-endian. Both sides of a call use these functions.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray

BINARY = "binary_tensor_data"  # as servers list it
HEAD = "Inference-Header-Content-Length"  # bytes of JSON before the numbers
TYPE = "FP32"
DIMENSIONS = 8
STORED = np.dtype("<f4")

Floats = NDArray[np.float32]
Side = Literal["inputs", "outputs"]


class Malformed(Exception):
    """A message that breaks the protocol, and how, in one sentence."""


class NotFinite(Malformed):
    """A number that is infinite or none."""


@dataclass(frozen=True)
class Message:
    """A request or an answer: its JSON without the tensors, and the tensors by name."""

    head: dict[str, Any]
    tensors: dict[str, Floats]


def pack(
    side: Side, head: Mapping[str, Any], tensors: Mapping[str, Floats], binary: bool
) -> tuple[bytes, dict[str, str]]:
    """A message as it is sent, and its headers. binary: whether the numbers go behind the head.

    As JSON each number is printed as the float64 that it equals: every reader, even one that is
    off by some last digits of a float64, then rounds it to the same float32.
    """
    described, behind = [], []
    for name, tensor in tensors.items():
        one: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "datatype": TYPE}
        if binary:
            behind.append(np.ascontiguousarray(tensor, STORED).tobytes())
            one["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            one["data"] = tensor.ravel().tolist()
        described.append(one)
    text = orjson.dumps({**head, side: described})
    if not binary:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEAD: str(len(text))}
    return b"".join((text, *behind)), headers


def unpack(side: Side, body: bytes, length: str | None) -> Message:
    """The message in a body; length: what its header `HEAD` says, None where it has none.

    Raises Malformed for what is not JSON, for tensors that are not float32 or have not as many
    numbers as their shape says, and for a number that is none.
    """
    view = memoryview(body)
    end = len(body)
    if length is not None:
        if not (length.isascii() and length.isdigit() and int(length) <= end):
            raise Malformed(f"{HEAD}: {length[:20]!r}; it must be the bytes of the JSON head")
        end = int(length)
    try:
        head = orjson.loads(view[:end])
    except orjson.JSONDecodeError as error:
        raise Malformed(f"not JSON ({error})") from None
    described = head.pop(side, None) if isinstance(head, dict) else None
    if not isinstance(described, list) or not described:
        raise Malformed(f"{side}: missing; it must be a list of tensors")
    tensors: dict[str, Floats] = {}
    for one in described:
        name, tensor, end = _tensor(one, view, end)
        if name in tensors:
            raise Malformed(f"{name}: there twice")
        tensors[name] = tensor
    if end != len(body):
        raise Malformed(f"{len(body) - end} bytes behind the last tensor belong to none")
    return Message(head, tensors)


def _tensor(one: Any, body: memoryview, start: int) -> tuple[str, Floats, int]:
    """A tensor's name and numbers, and where in the body the next one's begin."""
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise Malformed("a tensor without a name")
    name, shape = one["name"][:100], one.get("shape")
    if one.get("datatype") != TYPE:
        raise Malformed(f"{name}: datatype {str(one.get('datatype'))[:20]!r}; it must be {TYPE}")
    if not (
        isinstance(shape, list)
        and 0 < len(shape) <= DIMENSIONS
        and all(type(size) is int and size > 0 for size in shape)
    ):
        raise Malformed(f"{name}: shape; it must be a list of whole numbers above 0")
    size = parameters(one).get("binary_data_size")
    if size is None:
        tensor = _listed(name, one.get("data"), shape)
    elif "data" in one:
        raise Malformed(f"{name}: numbers in the JSON and behind it; they must stand in one place")
    elif type(size) is not int or not size == 4 * math.prod(shape) <= len(body) - start:
        raise Malformed(f"{name}: binary_data_size; its shape has {4 * math.prod(shape)} bytes")
    else:
        stored = np.frombuffer(body, STORED, size // 4, start)
        tensor = stored.astype(np.float32).reshape(shape)  # a copy, which is aligned
        start += size
    if not np.isfinite(tensor).all():
        raise NotFinite(f"{name}: a number that is not finite")
    return name, tensor, start


def _listed(name: str, data: Any, shape: list[int]) -> Floats:
    """Numbers of a JSON list, flat or nested as the shape, row by row."""
    try:
        cells = np.array(data if isinstance(data, list) else None, dtype=object)
    except ValueError:  # lists of different lengths
        cells = np.empty((), dtype=object)
    if cells.shape not in ((math.prod(shape),), tuple(shape)):
        raise Malformed(f"{name}: data; it must be {math.prod(shape)} numbers, flat or nested")
    flat = cells.ravel().tolist()
    if not set(map(type, flat)) <= {float, int}:
        raise Malformed(f"{name}: data; something that is no number")
    with np.errstate(over="ignore"):
        return np.array(flat, np.float64).astype(np.float32).reshape(shape)


def parameters(part: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a message or of a tensor."""
    found = part.get("parameters", {})
    if not isinstance(found, dict):
        raise Malformed("parameters: not an object")
    return found
