"""Fails unless the wasm modules that are named import nothing."""

import sys

IMPORTS = 2


def number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def imports(data: bytes) -> int:
    """How many things a module imports."""
    if data[:8] != b"\0asm\1\0\0\0":
        raise ValueError("not a wasm module")
    at = 8
    while at < len(data):
        section = data[at]
        size, at = number(data, at + 1)
        if section == IMPORTS:
            return number(data, at)[0]
        at += size
    return 0


for path in sys.argv[1:]:
    with open(path, "rb") as module:
        content = module.read()
    count = imports(content)
    print(f"{path}: {len(content)} bytes, {count} imports")
    if count:
        sys.exit(1)
