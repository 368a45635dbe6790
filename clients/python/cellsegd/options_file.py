"""Options as a TOML file, with the contract's names of SessionOptions: the file that `cellsegd segment --options` reads.

An enum is written by its name, with or without its prefix: `delivery = "LATEST"`. Bytes are in base64, as in protobuf's JSON.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from cellsegd import contract as pb

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(path: Path) -> pb.SessionOptions:
    """ValueError names the file and what is wrong in it."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        message = pb.SessionOptions()
        json_format.ParseDict(_long_names(tree, message.DESCRIPTOR), message)
    except (tomllib.TOMLDecodeError, json_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return message


def write(path: Path, message: pb.SessionOptions) -> None:
    """In place of what was there, whole or not at all."""
    tree = json_format.MessageToDict(message, preserving_proto_field_name=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(_table(_short_names(tree, message.DESCRIPTOR), ()), encoding="utf-8", newline="\n")
    beside.replace(path)


def _long_names(tree: Any, message: Any) -> Any:
    """Enums with their prefixes, as JSON has them."""
    return _walk(tree, message, lambda enum, name: name if name in enum.values_by_name else _prefix(enum) + name.upper())


def _short_names(tree: Any, message: Any) -> Any:
    return _walk(tree, message, lambda enum, name: name.removeprefix(_prefix(enum)))


def _walk(tree: Any, message: Any, rename: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    walked = {}
    for name, value in tree.items():
        field = message.fields_by_name.get(name)
        if field is not None and field.enum_type is not None and isinstance(value, str):
            value = rename(field.enum_type, value)
        elif field is not None and field.message_type is not None and not field.message_type.GetOptions().map_entry:
            each = field.message_type
            value = [_walk(item, each, rename) for item in value] if isinstance(value, list) else _walk(value, each, rename)
        walked[name] = value
    return walked


def _prefix(enum: Any) -> str:
    return str(enum.values[0].name).removesuffix("UNSPECIFIED")


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Scalars first, then the tables below."""
    scalars = [f"{_key(name)} = {_scalar(value)}\n" for name, value in tree.items() if not isinstance(value, Mapping)]
    tables = [_table(value, (*path, name)) for name, value in tree.items() if isinstance(value, Mapping)]
    head = f"\n[{'.'.join(map(_key, path))}]\n" if path and (scalars or not tables) else ""
    return head + "".join(scalars) + "".join(tables)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {_scalar(item)}' for name, item in value.items())} }}"
    # JSON's escapes are TOML's, but for a DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name and all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name) else _scalar(name)
