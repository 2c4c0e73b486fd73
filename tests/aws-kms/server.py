"""moto's KMS for tests: as it is (`plain`), or with what AWS's documentation says where moto does otherwise (`amended`).

What is amended stands in src/limits.rs, by name. Ends when its standard input does, which is with whoever started it.
"""

import base64
import json
import os
import sys
import threading

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.core.exceptions import JsonRESTError
from moto.kms import models, responses, utils
from moto.server import main

EDWARDS25519 = "ECC_NIST_EDWARDS25519"
HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
RAW_BYTES_MAX = 4096


def refuse(name, text):
    raise JsonRESTError(name, text)


def usable(key):
    """API reference, Sign and GetPublicKey: DisabledException, KMSInvalidStateException."""
    if key.key_state == "Disabled":
        refuse("DisabledException", f"{key.arn} is disabled.")
    if key.key_state == "PendingDeletion":
        refuse("KMSInvalidStateException", f"{key.arn} is pending deletion.")


class Edwards25519Key(utils.AbstractPrivateKey):
    def __init__(self):
        self.private_key = ed25519.Ed25519PrivateKey.generate()

    def sign(self, message, signing_algorithm):
        return self.private_key.sign(message)

    def verify(self, message, signature, signing_algorithm):
        raise NotImplementedError

    def public_key(self):
        return self.private_key.public_key().public_bytes(
            encoding=serialization.Encoding.DER,
            format=serialization.PublicFormat.SubjectPublicKeyInfo,
        )


def signature(key, message, kind, algorithm):
    private = key.private_key
    if algorithm == "ED25519_SHA_512":
        if kind != "RAW":
            refuse("ValidationException", "ED25519_SHA_512 wants MessageType RAW")
        return private.sign(message, algorithm)
    made = HASHES[algorithm[-3:]]()
    if kind == "DIGEST":
        if len(message) != made.digest_size:
            refuse("ValidationException", f"Digest is invalid length for algorithm {algorithm}.")
        hashed = Prehashed(made)
    else:
        hashed = made
    if algorithm.startswith("ECDSA"):
        return private.private_key.sign(message, ec.ECDSA(hashed))
    if algorithm.startswith("RSASSA_PSS"):
        salted = padding.PSS(mgf=padding.MGF1(made), salt_length=made.digest_size)
        return private.private_key.sign(message, salted, hashed)
    return private.private_key.sign(message, padding.PKCS1v15(), hashed)


def sign(self):
    key_id, message = self._get_param("KeyId"), self._get_param("Message")
    kind, algorithm = self._get_param("MessageType", "RAW"), self._get_param("SigningAlgorithm")
    self._validate_key_id(key_id)
    key = self.kms_backend.describe_key(key_id)
    usable(key)
    if algorithm not in (key.signing_algorithms or []):
        refuse("InvalidKeyUsageException", f"{key.key_spec} does not sign with {algorithm}")
    if len(message) > RAW_BYTES_MAX:
        refuse("ValidationException", "Member must have length less than or equal to 4096")
    signed = base64.b64encode(signature(key, message, kind, algorithm)).decode()
    return json.dumps({"KeyId": key.arn, "Signature": signed, "SigningAlgorithm": algorithm})


def amend():
    specs = utils.KeySpec.key_specs()
    utils.KeySpec.key_specs = classmethod(lambda cls: sorted(specs + [EDWARDS25519]))
    generate = models.generate_private_key
    models.generate_private_key = lambda spec: Edwards25519Key() if spec == EDWARDS25519 else generate(spec)
    algorithms = models.Key.signing_algorithms.fget
    models.Key.signing_algorithms = property(
        lambda key: ["ED25519_SHA_512"] if key.key_spec == EDWARDS25519 else algorithms(key)
    )
    public_key = responses.KmsResponse.get_public_key

    validate = responses.KmsResponse._validate_cmk_id

    def validate_cmk_id(self, key_id):
        """An ARN is of one region and one account."""
        if key_id.startswith("arn:"):
            _, _, service, region, account, _ = key_id.split(":", 5)
            if (service, region, account) != ("kms", self.region, self.current_account):
                refuse("NotFoundException", f"Key '{key_id}' does not exist")
        validate(self, key_id)

    def get_public_key(self):
        key_id = self._get_param("KeyId")
        self._validate_key_id(key_id)
        key = self.kms_backend.describe_key(key_id)
        usable(key)
        return json.dumps({**json.loads(public_key(self)), "KeyId": key.arn})

    def schedule_key_deletion(self):
        key_id, days = self._get_param("KeyId"), self._get_param("PendingWindowInDays", 30)
        self._validate_cmk_id(key_id)
        key = self.kms_backend.describe_key(key_id)
        if key.key_state == "PendingDeletion":
            refuse("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        if not 7 <= days <= 30:
            refuse("ValidationException", "PendingWindowInDays must be between 7 and 30")
        when = self.kms_backend.schedule_key_deletion(key.id, days)
        return json.dumps({"KeyId": key.arn, "DeletionDate": when, "KeyState": key.key_state, "PendingWindowInDays": days})

    responses.KmsResponse._validate_cmk_id = validate_cmk_id
    responses.KmsResponse.sign = sign
    responses.KmsResponse.get_public_key = get_public_key
    responses.KmsResponse.schedule_key_deletion = schedule_key_deletion


def end_with_whoever_started_it():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_whoever_started_it, daemon=True).start()
if sys.argv[1] == "amended":
    amend()
main(["-H", "127.0.0.1", "-p", "0"])
