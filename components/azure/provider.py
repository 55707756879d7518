"""The one Azure provider of a stack: its subscription and region come from the stack file, never from the environment."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_azure_native.provider import Provider

from components.azure.site import Site
from components.semester import Problem, SemesterError

# Keys of the namespace `azure-native:` that stay usable although the provider is explicit: how to sign in, and where
# the services answer. Subscription and location are the semester's own keys.
_TEXTS = {
    "clientId": "client_id",
    "tenantId": "tenant_id",
    "environment": "environment",
    "metadataHost": "metadata_host",
    "msiEndpoint": "msi_endpoint",
    "oidcTokenFilePath": "oidc_token_file_path",
    "oidcRequestUrl": "oidc_request_url",
    "clientCertificatePath": "client_certificate_path",
}
_SECRETS = {
    "clientSecret": "client_secret",
    "clientCertificatePassword": "client_certificate_password",
    "oidcToken": "oidc_token",
    "oidcRequestToken": "oidc_request_token",
}
_FLAGS = {
    "useOidc": "use_oidc",
    "useMsi": "use_msi",
    "useDefaultAzureCredential": "use_default_azure_credential",
    "disableInstanceDiscovery": "disable_instance_discovery",
}


def provider(site: Site) -> Provider:
    """The provider. Raises `SemesterError` when `azure-native:` names another subscription or location."""
    config = pulumi.Config("azure-native")
    for key, own in (("subscriptionId", site.subscription), ("location", site.region)):
        ambient = config.get(key)
        if ambient and ambient.lower().replace(" ", "") != own:
            problem = Problem(
                f"azure-native:{key}", ambient, f"{own}, what the semester says, or nothing", "remove the key"
            )
            raise SemesterError("the stack's configuration", [problem])
    options: dict[str, Any] = {}
    options |= {name: config.get(key) for key, name in _TEXTS.items() if config.get(key)}
    options |= {name: config.get_secret(key) for key, name in _SECRETS.items() if config.get(key)}
    options |= {name: config.get_bool(key) for key, name in _FLAGS.items() if config.get(key)}
    return Provider("azure", subscription_id=site.subscription, location=site.region, **options)
