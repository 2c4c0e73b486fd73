#!/usr/bin/env python3
"""Verifies a whole published decision log without a line of Hallmark: Python's standard library, and openssl for Ed25519.

    verify-log.py DIRECTORY VERIFIER-KEY [EARLIER-CHECKPOINT ..]

DIRECTORY has `checkpoint` and `tile/` (C2SP tlog-tiles). VERIFIER-KEY is the line in `log.vkey`; get it from whoever runs
the signer, not from the log. It checks the signature, the root over all entries (RFC 6962), every hash tile, that the log
continues the earlier checkpoints, that entries are canonical JSON (RFC 8785), that their times follow each other, and that
the certificates of each issuer are numbered from 1 without gaps. Exit code 0: all of it holds; 1: something does not, and
`rejected:` says what; 2: it could not be looked at.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

WIDTH = 256
DISORDER_MILLIS_MAX = 30_000
ED25519 = 1
# SubjectPublicKeyInfo of an Ed25519 key, but for the key (RFC 8410, section 4).
SPKI_START = bytes.fromhex("302a300506032b6570032100")
# Stages of decisions that issue no certificate: CRLs have numbers of their own, certification requests none.
NO_CERTIFICATES = ("crl", "request")


class Rejected(Exception):
    """What does not hold."""


def sha256(data):
    return hashlib.sha256(data).digest()


def unbase64(text, what):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Rejected(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise Rejected(f"{what} is base64 in another spelling")
    return data


class Key:
    """The verifier key of a log: name+id+base64(type || public key)."""

    def __init__(self, text):
        self.name, key_id, key = text.strip().split("+", 2)
        key = unbase64(key, "the verifier key")
        if len(key) != 33 or key[0] != ED25519:
            raise Rejected("the verifier key is no Ed25519 key")
        self.public = key[1:]
        self.id = sha256(self.name.encode() + b"\n" + key)[:4]
        if self.id.hex() != key_id:
            raise Rejected("the id of the verifier key is not that of its name and key")

    def verifies(self, message, signature):
        with tempfile.TemporaryDirectory() as directory:
            paths = {name: pathlib.Path(directory, name) for name in ("key", "signature", "message")}
            paths["key"].write_bytes(SPKI_START + self.public)
            paths["signature"].write_bytes(signature)
            paths["message"].write_bytes(message)
            command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", paths["key"], "-rawin"]
            command += ["-in", paths["message"], "-sigfile", paths["signature"]]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0


def open_checkpoint(data, key):
    """Size and root of a checkpoint that `key` signed."""
    try:
        text, signatures = data.decode().rsplit("\n\n", 1)
    except ValueError as error:
        raise Rejected("the checkpoint is no signed note") from error
    text += "\n"
    if not signatures.endswith("\n"):
        raise Rejected("the checkpoint is cut off")
    signed = False
    for line in signatures[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise Rejected("the checkpoint has a malformed signature line")
        signature = unbase64(parts[2], "a signature of the checkpoint")
        if parts[1] == key.name and signature[:4] == key.id:
            if not key.verifies(text.encode(), signature[4:]):
                raise Rejected("the signature of the checkpoint is wrong")
            signed = True
    if not signed:
        raise Rejected("the checkpoint is not signed by the log's key")
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != key.name or not lines[1].isdigit() or str(int(lines[1])) != lines[1]:
        raise Rejected("the checkpoint is not one of this log")
    return int(lines[1]), unbase64(lines[2], "the root")


def path_of(kind, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{kind}/{'/'.join(groups)}" + (f".p/{width}" if width < WIDTH else "")


def read(directory, path):
    try:
        return (directory / path).read_bytes()
    except OSError as error:
        raise Rejected(f"{path} cannot be read") from error


def read_entries(directory, size):
    """All entries, in order."""
    for index in range(0, (size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - index * WIDTH)
        path = path_of("entries", index, width)
        bundle = read(directory, path)
        at = 0
        for position in range(width):
            length = int.from_bytes(bundle[at : at + 2], "big")
            entry = bundle[at + 2 : at + 2 + length]
            if len(bundle) < at + 2 or len(entry) != length:
                raise Rejected(f"{path} ends before entry {index * WIDTH + position} does")
            yield entry
            at += 2 + length
        if at != len(bundle):
            raise Rejected(f"{path} has more entries than {width}")


def root_of(hashes):
    """The root of complete subtrees or leaves, the largest power of two to the left (RFC 6962, section 2.1)."""
    if not hashes:
        return sha256(b"")
    row = list(hashes)
    while len(row) > 1:
        pairs = [sha256(b"\x01" + row[at] + row[at + 1]) for at in range(0, len(row) - 1, 2)]
        row = pairs + row[len(row) - len(row) % 2 :]
    return row[0]


def check_tiles(directory, leaves):
    """Every hash tile is that of the entries below it."""
    level, row = 0, leaves
    while row:
        for index in range(0, (len(row) + WIDTH - 1) // WIDTH):
            hashes = row[index * WIDTH : (index + 1) * WIDTH]
            path = path_of(level, index, len(hashes))
            if read(directory, path) != b"".join(hashes):
                raise Rejected(f"{path} is not the tile of the entries")
        level += 1
        row = [root_of(row[at : at + WIDTH]) for at in range(0, len(row) - len(row) % WIDTH, WIDTH)]


class Order:
    """Canonical JSON, times that follow each other, and issuers that number without gaps."""

    def __init__(self):
        self.newest = 0
        self.sequences = {}
        self.behind = []

    def look_at(self, index, data):
        try:
            entry = json.loads(data)
            canonical = json.dumps(entry, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
            kind, time = entry["type"], entry["time"]
            is_entry = canonical == data and entry["version"] == 1 and isinstance(time, int)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Rejected(f"entry {index} is no entry") from error
        if not is_entry:
            raise Rejected(f"entry {index} is not in canonical JSON, or of another version")
        # An entry that was too long has neither decision nor command, but `omitted-sha256`.
        issued = kind == "decision" and entry.get("decision") == "issued" and entry.get("stage") not in NO_CERTIFICATES
        if kind == "operator-command" and entry.get("command") == "accept-clock":
            self.newest, self.behind = time, []
        elif time < self.newest - DISORDER_MILLIS_MAX:
            if issued:
                raise Rejected(f"entry {index} issues in the past")
            self.behind.append(index)
        self.newest = max(self.newest, time)
        if issued:
            self.number(index, entry.get("issuer"))

    def number(self, index, issuer):
        """The next certificate of an issuer."""
        if not isinstance(issuer, dict) or not isinstance(issuer.get("spki-sha256"), str):
            raise Rejected(f"entry {index} issues a certificate and does not say by whom")
        name, number = issuer["spki-sha256"], issuer.get("sequence")
        wanted = self.sequences.get(name, 0) + 1
        if number != wanted:
            raise Rejected(f"entry {index} is number {number} of its issuer instead of {wanted}")
        self.sequences[name] = wanted

    def close(self):
        if self.behind:
            raise Rejected(f"entry {self.behind[0]} lies before earlier ones")


def verify(directory, key, earlier):
    size, root = open_checkpoint(read(directory, "checkpoint"), key)
    order, leaves = Order(), []
    for index, entry in enumerate(read_entries(directory, size)):
        order.look_at(index, entry)
        leaves.append(sha256(b"\x00" + entry))
    order.close()
    if root_of(leaves) != root:
        raise Rejected("the entries do not have the root that is signed")
    check_tiles(directory, leaves)
    for path in earlier:
        old_size, old_root = open_checkpoint(pathlib.Path(path).read_bytes(), key)
        if old_size > size or root_of(leaves[:old_size]) != old_root:
            raise Rejected(f"the log does not continue `{path}`, which has {old_size} entries")
    return size


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        size = verify(pathlib.Path(arguments[0]), Key(arguments[1]), arguments[2:])
    except Rejected as rejected:
        print(f"rejected: {rejected}", file=sys.stderr)
        return 1
    except Exception as error:  # What was not foreseen is no verdict.
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"accepted: {size} entries")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
