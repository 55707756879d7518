"""The one AWS provider of a stack: its region and account come from the stack file, never from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

from components.semester import Problem, Semester, SemesterError

# Keys of the namespace `aws:` that stay usable although the provider is explicit: how to sign in, and where the
# services answer. A stack's region and account are the semester's own keys.
_TEXTS = {"profile": "profile", "accessKey": "access_key", "secretKey": "secret_key", "token": "token"}
_FLAGS = {
    "skipCredentialsValidation": "skip_credentials_validation",
    "skipMetadataApiCheck": "skip_metadata_api_check",
    "skipRegionValidation": "skip_region_validation",
    "skipRequestingAccountId": "skip_requesting_account_id",
    "s3UsePathStyle": "s3_use_path_style",
}
_OBJECTS = {
    "endpoints": "endpoints",
    "assumeRoles": "assume_roles",
    "assumeRoleWithWebIdentity": "assume_role_with_web_identity",
}


def provider(semester: Semester, tags: Mapping[str, str]) -> aws.Provider:
    """The provider. Raises `SemesterError` when `aws:region` contradicts the semester's region."""
    config = pulumi.Config("aws")
    ambient = config.get("region")
    if ambient and ambient != semester.region:
        problem = Problem(
            "aws:region", ambient, f"{semester.region}, the semester's own region, or nothing", "remove the key"
        )
        raise SemesterError("the stack's configuration", [problem])
    options: dict[str, Any] = {}
    for key, name in _TEXTS.items():
        if key in ("accessKey", "secretKey", "token"):
            options[name] = config.get_secret(key)
        else:
            options[name] = config.get(key)
    options |= {name: config.get_bool(key) for key, name in _FLAGS.items()}
    options |= {name: config.get_object(key) for key, name in _OBJECTS.items()}
    return aws.Provider(
        "aws",
        region=semester.region,
        allowed_account_ids=[semester.account] if semester.account else None,
        default_tags={"tags": dict(tags)},
        **{name: value for name, value in options.items() if value is not None},
    )
