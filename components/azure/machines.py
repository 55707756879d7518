"""What the hub VM and the workers have in common: operating system, disks, the door for admins.

Admins sign in with their Entra ID account (`az ssh vm`, role Virtual Machine Administrator Login), through the extension
below; no SSH key is handed out. Azure wants a key at creation all the same: it gets one that nobody can use.
"""

from __future__ import annotations

import base64
import hashlib

from pulumi_azure_native import compute as azure

IMAGE = ("Debian", "debian-12", "12-gen2", "0.20250316.2053")
"""Publisher, offer, sku, version of the marketplace image: the same build as Debian's AMI 20250316-2053."""
ADMIN = "operator"
_NO_KEY = hashlib.sha256(b"semesterhub: nobody has the private key of this").digest()


def locked_key() -> str:
    """An SSH public key made from a sentence instead of a private key: valid in form, of use to nobody."""
    kind = b"ssh-ed25519"
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, _NO_KEY))
    return f"{kind.decode()} {base64.b64encode(blob).decode()} locked"


def image() -> azure.ImageReferenceArgs:
    """Debian 12, pinned: a new version is a decision, not a surprise at the next scale-out."""
    publisher, offer, sku, version = IMAGE
    return azure.ImageReferenceArgs(publisher=publisher, offer=offer, sku=sku, version=version)


def linux() -> azure.LinuxConfigurationArgs:
    """No passwords, and the key that opens nothing."""
    return azure.LinuxConfigurationArgs(
        disable_password_authentication=True,
        provision_vm_agent=True,
        ssh=azure.SshConfigurationArgs(
            public_keys=[azure.SshPublicKeyArgs(path=f"/home/{ADMIN}/.ssh/authorized_keys", key_data=locked_key())]
        ),
    )


def security() -> azure.SecurityProfileArgs:
    """Disks, caches and temporary disks encrypted on the host; a measured boot of signed code.

    The subscription needs the feature once: `az feature register --namespace Microsoft.Compute --name EncryptionAtHost`.
    """
    return azure.SecurityProfileArgs(
        encryption_at_host=True,
        security_type="TrustedLaunch",
        uefi_settings=azure.UefiSettingsArgs(secure_boot_enabled=True, v_tpm_enabled=True),
    )


def diagnostics() -> azure.DiagnosticsProfileArgs:
    """The serial console's text, kept by Azure: what a machine that does not boot said last."""
    return azure.DiagnosticsProfileArgs(boot_diagnostics=azure.BootDiagnosticsArgs(enabled=True))
