"""Buckets, their parts, and objects: S3."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sandbox.aws.convert import to_api
from sandbox.aws.scope import policy_text
from sandbox.aws.spec import ID, PROVIDER_DOCS, TAGS, Call, In, Look, Spec, Tagging, Update
from sandbox.aws.types.common import known
from sandbox.aws.types.iam import policy_check

_BUCKET_NAME = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(?:-s3alias|--ol-s3)$)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9-]|\.(?![.-])){1,61}[a-z0-9]"
)


def _bucket_check(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    if known(values, "bucket") and not _BUCKET_NAME.fullmatch(values["bucket"]):
        return [
            ("bucket", f"{values['bucket']!r} is no bucket name: 3 to 63 lower-case letters, digits, dots and dashes")
        ]
    return []


def _empty(scope: Any) -> None:
    """Takes every object, version and marker out, where the program says so."""
    if not scope.inputs.get("forceDestroy"):
        return
    listed = scope.api.call("s3", "list_object_versions", {"Bucket": scope.id}, scope.region)
    for entry in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
        gone = {"Bucket": scope.id, "Key": entry["Key"], "VersionId": entry["VersionId"]}
        scope.api.call("s3", "delete_object", gone, scope.region)


def _bucket_tags(scope: Any) -> None:
    scope.api.call(
        "s3", "put_bucket_tagging", {"Bucket": scope.id, "Tagging": {"TagSet": scope.fill(TAGS)}}, scope.region
    )


BUCKET = Spec(
    type="aws:s3/bucket:Bucket",
    docs=PROVIDER_DOCS + "s3_bucket",
    create=Call(
        "s3",
        "create_bucket",
        {"CreateBucketConfiguration": lambda s: None if s.region == "us-east-1" else {"LocationConstraint": s.region}},
        take="bucket objectLockEnabled=ObjectLockEnabledForBucket",
    ),
    id="{bucket}",
    looks=(
        Look(Call("s3", "head_bucket", {"Bucket": ID}, missing=("404", "NoSuchBucket")), ""),
        Look(Call("s3", "get_bucket_tagging", {"Bucket": ID}, missing=("NoSuchTagSet",)), "TagSet", under="Tags"),
    ),
    updates=(Update("bucket tags", (_bucket_tags,), create=True),),
    before_delete=(_empty,),
    delete=Call("s3", "delete_bucket", {"Bucket": ID}),
    tagging=Tagging(
        set=Call("s3", "put_bucket_tagging", {"Bucket": ID, "Tagging": {"TagSet": TAGS}}),
        unset=Call(
            "s3",
            "put_bucket_tagging",
            {
                "Bucket": ID,
                "Tagging": lambda s: {
                    "TagSet": [
                        {"Key": k, "Value": v}
                        for k, v in sorted({**s.state.get("tagsAll", {}), **(s.inputs.get("tags") or {})}.items())
                        if k not in s.tag_keys
                    ]
                },
            },
        ),
    ),
    force_new="bucket bucketPrefix objectLockEnabled",
    seen={"bucket": "{id}", "objectLockEnabled": None},
    outputs={
        "arn": "arn:aws:s3:::{id}",
        "bucketDomainName": "{id}.s3.amazonaws.com",
        "bucketRegionalDomainName": "{id}.s3.{region}.amazonaws.com",
        "bucketRegion": "{region}",
    },
    kept="forceDestroy",
    autoname="bucket",
    autoname_max=63,
    check=_bucket_check,
)


def _part(
    kind: str, api: str, put: str, get: str, delete: str | None, body: Any, path: str, inputs: str, **more: Any
) -> Spec:
    """A part of a bucket that has calls of its own: put, get and delete of the whole. `body`: the put's parameters."""
    change = Call("s3", put, {"Bucket": In("bucket"), **body})
    snake = re.sub(r"(?<!^)([A-Z])", r"_\1", kind).lower().replace("bucket_", "s3_bucket_", 1)
    return Spec(
        type=f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}",
        docs=PROVIDER_DOCS + snake,
        create=change,
        id="{bucket}",
        looks=(Look(Call("s3", get, {"Bucket": ID}, missing=("NoSuchBucket", api)), path),),
        updates=(Update(inputs, (change,)),),
        delete=Call("s3", delete, {"Bucket": ID}, missing=("NoSuchBucket", api)) if delete else None,
        force_new="bucket",
        seen={"bucket": "{id}", **more.pop("seen", {})},
        **more,
    )


PUBLIC_ACCESS = _part(
    "BucketPublicAccessBlock",
    "NoSuchPublicAccessBlockConfiguration",
    "put_public_access_block",
    "get_public_access_block",
    "delete_public_access_block",
    {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": In("blockPublicAcls", default=False),
            "BlockPublicPolicy": In("blockPublicPolicy", default=False),
            "IgnorePublicAcls": In("ignorePublicAcls", default=False),
            "RestrictPublicBuckets": In("restrictPublicBuckets", default=False),
        }
    },
    "PublicAccessBlockConfiguration",
    "blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets",
    kept="skipDestroy",
)

OWNERSHIP = _part(
    "BucketOwnershipControls",
    "OwnershipControlsNotFoundError",
    "put_bucket_ownership_controls",
    "get_bucket_ownership_controls",
    "delete_bucket_ownership_controls",
    {"OwnershipControls": lambda s: {"Rules": [{"ObjectOwnership": s.inputs["rule"]["objectOwnership"]}]}},
    "OwnershipControls",
    "rule",
    seen={"rule": "Rules[0]"},
    kept="rule",
)


def _encryption(scope: Any) -> Any:
    shape = scope.api.shape("s3", "put_bucket_encryption").members["ServerSideEncryptionConfiguration"].members["Rules"]
    names = {
        "rules.applyServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault",
        "rules.applyServerSideEncryptionByDefault.sseAlgorithm": "SSEAlgorithm",
        "rules.applyServerSideEncryptionByDefault.kmsMasterKeyId": "KMSMasterKeyID",
    }
    return {"Rules": to_api(scope.inputs["rules"], shape, "rules", names)}


ENCRYPTION = _part(
    "BucketServerSideEncryptionConfiguration",
    "ServerSideEncryptionConfigurationNotFoundError",
    "put_bucket_encryption",
    "get_bucket_encryption",
    "delete_bucket_encryption",
    {"ServerSideEncryptionConfiguration": _encryption},
    "ServerSideEncryptionConfiguration",
    "rules",
    kept="rules",
)


def _versioning(answer: Any, _scope: Any) -> Any:
    return {"versioningConfiguration": {"status": answer.get("Status", "Disabled")}}


VERSIONING = Spec(
    type="aws:s3/bucketVersioning:BucketVersioning",
    docs=PROVIDER_DOCS + "s3_bucket_versioning",
    create=Call("s3", "put_bucket_versioning", {"Bucket": In("bucket")}, take="versioningConfiguration"),
    id="{bucket}",
    looks=(Look(Call("s3", "get_bucket_versioning", {"Bucket": ID}, missing=("NoSuchBucket",)), _versioning),),
    updates=(
        Update(
            "versioningConfiguration",
            (Call("s3", "put_bucket_versioning", {"Bucket": ID}, take="versioningConfiguration"),),
        ),
    ),
    # As the official provider: a bucket that was once versioned is suspended, never unversioned.
    delete=Call(
        "s3",
        "put_bucket_versioning",
        {"Bucket": ID, "VersioningConfiguration": {"Status": "Suspended"}},
        missing=("NoSuchBucket",),
    ),
    force_new="bucket",
    seen={"bucket": "{id}"},
)

BUCKET_POLICY = _part(
    "BucketPolicy",
    "NoSuchBucketPolicy",
    "put_bucket_policy",
    "get_bucket_policy",
    "delete_bucket_policy",
    {"Policy": In("policy", via=policy_text)},
    "",
    "policy",
    check=policy_check("policy"),
)


def _rules(scope: Any) -> Any:
    shape = (
        scope.api.shape("s3", "put_bucket_lifecycle_configuration").members["LifecycleConfiguration"].members["Rules"]
    )
    names = {"rules.id": "ID"}
    rules = to_api(scope.inputs["rules"], shape, "rules", names)
    for given, rule in zip(scope.inputs["rules"], rules, strict=True):
        if (given.get("filter") or {}).get("prefix") == "":
            rule["Filter"] = {"Prefix": ""}
    return {"Rules": rules}


LIFECYCLE_RULES = _part(
    "BucketLifecycleConfiguration",
    "NoSuchLifecycleConfiguration",
    "put_bucket_lifecycle_configuration",
    "get_bucket_lifecycle_configuration",
    "delete_bucket_lifecycle",
    {"LifecycleConfiguration": _rules},
    "",
    "rules",
    kept="rules transitionDefaultMinimumObjectSize",
    seen={"rules": lambda c: [{k: v for k, v in r.items() if k != "Prefix"} for r in c.get("Rules") or []]},
)


def _object_body(scope: Any) -> Any:
    content = scope.inputs.get("content")
    return None if content is None else content.encode()


def _object_tags(scope: Any) -> Any:
    from urllib.parse import urlencode

    return urlencode(sorted((scope.inputs.get("tags") or {}).items())) or None


_PUT = Call(
    "s3",
    "put_object",
    {"Body": _object_body, "Tagging": _object_tags},
    take="bucket key contentType cacheControl contentEncoding serverSideEncryption kmsKeyId=SSEKMSKeyId",
)


def _delete_versions(scope: Any) -> None:
    bucket, key = scope.inputs["bucket"], scope.id
    listed = scope.api.call("s3", "list_object_versions", {"Bucket": bucket, "Prefix": key}, scope.region)
    found = [e for e in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])] if e["Key"] == key]
    for entry in found:
        scope.api.call(
            "s3", "delete_object", {"Bucket": bucket, "Key": key, "VersionId": entry["VersionId"]}, scope.region
        )


OBJECT = Spec(
    type="aws:s3/bucketObjectv2:BucketObjectv2",
    docs=PROVIDER_DOCS + "s3_object",
    create=_PUT,
    id="{key}",
    looks=(
        Look(
            Call(
                "s3", "head_object", {"Bucket": In("bucket"), "Key": ID}, missing=("404", "NoSuchKey", "NoSuchBucket")
            ),
            "",
        ),
    ),
    updates=(
        Update("content contentType cacheControl contentEncoding tags serverSideEncryption kmsKeyId source", (_PUT,)),
    ),
    before_delete=(_delete_versions,),
    delete=None,
    force_new="bucket key",
    seen={
        "bucket": None,
        "key": "{id}",
        # What is in there is compared by its checksum, as the official provider does (etag).
        "content": lambda o, s: (
            s.inputs["content"] if _md5(s.inputs["content"]) == o["ETag"].strip('"') else f"(changed, etag {o['ETag']})"
        ),
    },
    outputs={
        "arn": lambda _o, s: f"arn:aws:s3:::{s.inputs['bucket']}/{s.inputs['key']}",
        "etag": lambda o: o["ETag"].strip('"'),
        "versionId": "VersionId",
    },
    kept="content forceDestroy overrideProvider tags",
    volatile="etag versionId",
    computed="etag",
)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324  (S3's own checksum)


SPECS = (
    BUCKET,
    PUBLIC_ACCESS,
    OWNERSHIP,
    ENCRYPTION,
    VERSIONING,
    BUCKET_POLICY,
    LIFECYCLE_RULES,
    OBJECT,
)
