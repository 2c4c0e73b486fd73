#!/usr/bin/env python3
"""Holds every entry of a published log against the JSON Schema in the repository, with the package `jsonschema`.

    entries.py SCHEMA DIRECTORY
"""

import json
import pathlib
import sys

import jsonschema


def entries(directory):
    """Entries of all bundles; partial ones of earlier sizes come twice, which does no harm."""
    for path in sorted(pathlib.Path(directory, "tile", "entries").rglob("*")):
        bundle = path.read_bytes() if path.is_file() else b""
        at = 0
        while at < len(bundle):
            length = int.from_bytes(bundle[at : at + 2], "big")
            yield bundle[at + 2 : at + 2 + length]
            at += 2 + length


def main(schema, directory):
    schema = json.loads(pathlib.Path(schema).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    known, seen = set(schema["$defs"]), set()
    count = 0
    for entry in entries(directory):
        value = json.loads(entry)
        error = next(validator.iter_errors(value), None)
        if error is not None:
            sys.exit(f"rejected: {entry.decode()}: {error.message}")
        if value["type"] not in known:
            sys.exit(f"rejected: the type `{value['type']}` is not in the schema")
        seen.add(value["type"])
        count += 1
    # A schema that accepts everything would prove nothing.
    for wrong in ({}, {"time": 1, "type": "decision", "version": 1}, {"time": "1", "type": "stop", "version": 1}):
        if validator.is_valid(wrong):
            sys.exit(f"the schema accepts {wrong}")
    print(f"accepted: {count} entries of the types {', '.join(sorted(seen))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
