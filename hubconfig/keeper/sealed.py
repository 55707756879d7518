"""Something secret for a site, sealed for a key that only that site has.

Commands to a hub VM in a cloud go through the cloud's own run-command service, which keeps their input in the account's
history. So the site makes a key, the admin's command seals for it, and the key is used once.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .errors import KeeperError

KEY_FILE = "sealing-key.pem"
KEY_BITS = 3072


def make_key(run_path: Path) -> str:
    """A new key for one message; its public half as PEM. The private half is root's alone and goes with the next boot."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    file = run_path / KEY_FILE
    run_path.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def seal(public_key: str, text: str) -> str:
    """The text for the holder of that key alone: Fernet (AES-128-CBC, HMAC-SHA256), its key by RSA-OAEP with SHA-256."""
    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    public = serialization.load_pem_public_key(public_key.encode())
    if not isinstance(public, rsa.RSAPublicKey):
        raise KeeperError("the site's key is no RSA key; both sides must run the same release")
    secret = Fernet.generate_key()
    wrapped = public.encrypt(secret, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    return json.dumps(
        {"key": base64.b64encode(wrapped).decode(), "text": Fernet(secret).encrypt(text.encode()).decode()}
    )


def unseal(run_path: Path, sealed: str) -> str:
    """The text, with this site's key, which is gone after that. KeeperError when it was sealed for another one."""
    from cryptography.fernet import Fernet, InvalidToken
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    file = run_path / KEY_FILE
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
        message = json.loads(sealed)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError
        secret = key.decrypt(
            base64.b64decode(message["key"]), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        )
        return Fernet(secret).decrypt(message["text"]).decode()
    except (OSError, ValueError, TypeError, KeyError, InvalidToken):
        raise KeeperError("what was sent is not sealed for this site's present key; run the command again") from None
    finally:
        file.unlink(missing_ok=True)
