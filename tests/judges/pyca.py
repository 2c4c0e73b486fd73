"""Judges a certificate with the verifier of Python's `cryptography`, as a client of the Web PKI profile would.

Arguments: trust anchor, leaf, then the intermediates that come with it; PEM files. Says `verified` or why not.
"""

import sys
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification


def read(path: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(path).read_bytes())


anchor, leaf, *intermediates = (read(path) for path in sys.argv[1:])
verifier = verification.PolicyBuilder().store(verification.Store([anchor])).build_client_verifier()
try:
    verifier.verify(leaf, intermediates)
except verification.VerificationError as error:
    sys.exit(f"refused: {error}")
print("verified")
