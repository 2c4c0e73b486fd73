"""Judges a chain of ML-DSA with Python's `cryptography`: with its own verifier, and with OpenSSL's, which it brings (4.0) and pyOpenSSL asks.

Arguments: the moment in seconds since 1970, trust anchor, leaf, then certificates and CRLs that come with them; PEM files. Says who verified it,
or why not.
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification
from OpenSSL import SSL, crypto


def blocks(path: str) -> tuple[list[x509.Certificate], list[x509.CertificateRevocationList]]:
    content = Path(path).read_bytes()
    if b"BEGIN X509 CRL" in content:
        return [], [x509.load_pem_x509_crl(content)]
    return x509.load_pem_x509_certificates(content), []


at = datetime.fromtimestamp(int(sys.argv[1]), timezone.utc)
anchor, leaf, *others = (blocks(path) for path in sys.argv[2:])
anchor, (leaf, *own) = anchor[0][0], leaf[0]
intermediates = own + [certificate for certificates, _ in others for certificate in certificates]
crls = [crl for _, found in others for crl in found]

for certificate, issuer in zip([leaf, *intermediates], [*intermediates, anchor]):
    certificate.verify_directly_issued_by(issuer)
    print(f"{certificate.signature_algorithm_oid.dotted_string} {len(certificate.signature)}")
for crl in crls:
    issuer = next(issuer for issuer in [*intermediates, anchor] if issuer.subject == crl.issuer)
    if not crl.is_signature_valid(issuer.public_key()):
        sys.exit("refused: a CRL's signature")

verifier = verification.PolicyBuilder().store(verification.Store([anchor])).time(at).build_client_verifier()
try:
    verifier.verify(leaf, intermediates)
except verification.VerificationError as error:
    sys.exit(f"refused by cryptography: {error}")

store = crypto.X509Store()
store.add_cert(crypto.X509.from_cryptography(anchor))
flags = crypto.X509StoreFlags.X509_STRICT
if crls:
    flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
    for crl in crls:
        store.add_crl(crl)
store.set_flags(flags)
store.set_time(at)
untrusted = [crypto.X509.from_cryptography(certificate) for certificate in intermediates]
try:
    crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), untrusted).verify_certificate()
except crypto.X509StoreContextError as error:
    sys.exit(f"refused by OpenSSL: {error}")
print(f"verified by cryptography and {SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()}")
