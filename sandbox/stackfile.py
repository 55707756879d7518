"""The stack file as an offline run gets it: secrets replaced by stand-ins, so that nobody needs the passphrase.

A value under `secure:` becomes another encrypted value, made from a hash of the ciphertext: it is still a secret for
the program, and a preview still sees that it changed, but nobody can learn the real one from it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

import yaml
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sandbox.isolation import SALT_PASSPHRASE

_SALT = b"semester"
_ROUNDS = 1_000_000
"""As Pulumi's passphrase secrets manager (sdk/go/common/resource/config/crypt.go: PBKDF2, SHA-256)."""


def offline(text: str) -> str:
    """The text of a stack file whose secrets open with the sandbox's own passphrase."""
    document = yaml.safe_load(text) or {}
    for name in ("secretsprovider", "encryptedkey", "encryptionsalt"):
        document.pop(name, None)
    config = document.setdefault("config", {})
    if _replace(config):
        document["encryptionsalt"] = f"v1:{base64.b64encode(_SALT).decode()}:{_sealed('pulumi')}"
    return yaml.safe_dump(document, sort_keys=False)


def _replace(value: Any) -> bool:
    """Replace the secrets inside `value`; whether there were any."""
    if isinstance(value, dict):
        if set(value) == {"secure"} and isinstance(value["secure"], str):
            value["secure"] = _sealed("sandbox-" + hashlib.sha256(value["secure"].encode()).hexdigest()[:32])
            return True
        value = list(value.values())
    if isinstance(value, list):
        return sum(_replace(item) for item in value) > 0  # every one of them
    return False


@functools.cache
def _key() -> bytes:
    return hashlib.pbkdf2_hmac("sha256", SALT_PASSPHRASE.encode(), _SALT, _ROUNDS, 32)  # 0.3 s


def _sealed(text: str) -> str:
    """Encrypted as Pulumi would; the nonce comes from the text, so that the same text gives the same result."""
    nonce = hashlib.sha256(text.encode()).digest()[:12]
    sealed = AESGCM(_key()).encrypt(nonce, text.encode(), None)
    return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"
