"""Who may do what: the whole list of rights, secrets with readers of their own, nothing broader."""

from __future__ import annotations

import uuid

import pytest
from google.protobuf.json_format import MessageToDict

from components.azure.access import ROLES
from components.azure.kubernetes import HUB_DATA_ACTIONS
from tests.components.azure.program import BOTH, Program, program, run, semester

pytestmark = pytest.mark.unit

OAUTH = {
    "kind": "github",
    "client_id": "abc",
    "client_secret": {"secure": "v1:x"},
    "allowed_organizations": ["data-8"],
}
SECRET_SIGN = "4dabf18193072939515e22adb298388d"
CONFIG = {"semesterhub:authenticator": '{"client_secret": "s3cret-of-the-client"}'}


def rights(made: Program) -> set[tuple[str, str, str]]:
    """(identity, role, scope) of every role assignment."""
    by_guid = {guid: name for name, guid in ROLES.items()}
    return {
        (
            grant["principalId"].removeprefix("principal-"),
            by_guid.get(grant["roleDefinitionId"].rpartition("/")[2], grant["roleDefinitionId"]),
            grant["scope"],
        )
        for grant in made.of_kind("authorization.RoleAssignment").values()
        if grant["principalId"].removeprefix("principal-") in {"hub-identity", "nodes-identity", "cluster-identity"}
    }


def test_on_swarm_each_machine_has_its_own_few_rights() -> None:
    assert rights(program("swarm")) == {
        ("hub-identity", "pull images", "/id/registry"),
        ("hub-identity", "read blobs", "/id/bundle-container"),
        ("hub-identity", "write blobs", "/id/backups-container"),
        ("hub-identity", "sign for blobs", "/id/backups-account"),
        ("hub-identity", "write secret", "/id/join-token"),
        ("nodes-identity", "pull images", "/id/registry"),
        ("nodes-identity", "read blobs", "/id/bundle-container"),
        ("nodes-identity", "read secret", "/id/join-token"),
    }


def test_on_kubernetes_there_is_no_join_token_and_the_control_plane_joins_its_subnets() -> None:
    made = program("kubernetes")
    assert rights(made) == {
        ("hub-identity", "pull images", "/id/registry"),
        ("hub-identity", "read blobs", "/id/bundle-container"),
        ("hub-identity", "write blobs", "/id/backups-container"),
        ("hub-identity", "sign for blobs", "/id/backups-account"),
        ("hub-identity", "/id/hub-role", "/id/cluster"),
        ("hub-identity", "find cluster", "/id/cluster"),
        ("nodes-identity", "pull images", "/id/registry"),
        ("cluster-identity", "join subnet", "/id/nodes-subnet"),
        ("cluster-identity", "join subnet", "/id/pods-subnet"),
        ("cluster-identity", "use identity", "/id/nodes-identity"),
    }
    assert "join-token" not in made.resources


@pytest.mark.parametrize("orchestrator", BOTH)
def test_no_right_is_on_a_vault_an_account_or_a_subscription(orchestrator: str) -> None:
    made = program(orchestrator)
    broad = {"/id/vault", "/id/group", "/id/homes-account", "/id/backups-account", "/id/operations-account", "/id/vnet"}
    for name, grant in made.of_kind("authorization.RoleAssignment").items():
        # What takes snapshots of the homes needs the account's share, which has no scope of its own below it; and the key
        # of a token is the account's to give.
        if name not in {"snapshots-of-homes", "hub-signs-for-backups"}:
            assert grant["scope"] not in broad and not grant["scope"].startswith("/subscriptions/"), name
        assert grant["principalType"] == "ServicePrincipal"


@pytest.mark.parametrize("orchestrator", BOTH)
def test_rights_have_names_that_stay(orchestrator: str) -> None:
    def names(made: Program) -> dict[str, str]:
        return {n: grant["roleAssignmentName"] for n, grant in made.of_kind("authorization.RoleAssignment").items()}

    first = names(program(orchestrator))
    assert len(set(first.values())) == len(first) and all(uuid.UUID(name) for name in first.values())
    stack = {"swarm": "sp16", "kubernetes": "fa26-azure"}[orchestrator]
    assert names(run(semester(stack), stack=stack)) == first


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_vault_is_closed_and_cannot_be_purged(orchestrator: str) -> None:
    made = program(orchestrator)
    vault = made["vault"]["properties"]
    assert (
        vault["enableRbacAuthorization"] is True
        and vault["enablePurgeProtection"] is True
        and "accessPolicies" not in vault
    )
    assert vault["networkAcls"]["defaultAction"] == "Deny"
    assert [r["id"] for r in vault["networkAcls"]["virtualNetworkRules"]] == ["/id/hub-subnet", "/id/nodes-subnet"]
    assert vault["tenantId"] == "00000000-0000-4000-8000-00000000aaaa"
    assert made.resources["vault"].protected and made.resources["vault"].retained


def test_the_join_tokens_place_cannot_be_taken_for_a_token() -> None:
    token = program("swarm").resources["join-token"]
    assert token.inputs["properties"]["attributes"]["enabled"] is False
    # Azure makes a new version of a secret for other tags as well: the placeholder over the token.
    assert (
        set(token.request.ignoreChanges) == {"properties", "tags"}
        and "resourceGroupName" not in token.request.ignoreChanges
    )


def test_an_oauth_secret_is_a_secret_everywhere_and_read_by_the_hub_alone() -> None:
    made = run(semester(authenticator=OAUTH), config=CONFIG, secrets=list(CONFIG))
    properties = MessageToDict(made.resources["oauth-client-secret"].request.object)["properties"]
    assert properties["value"] == {SECRET_SIGN: "1b47061264138c4ac30d75fd1eb44270", "value": "s3cret-of-the-client"}
    assert ("hub-identity", "read secret", "/id/oauth-client-secret") in rights(made)
    assert not [r for r in rights(made) if r[0] == "nodes-identity" and "oauth" in r[2]]
    for name, entry in made.resources.items():
        if name != "oauth-client-secret":
            assert "s3cret-of-the-client" not in str(entry.request.object), name


def test_the_hubs_role_in_the_cluster_reads_no_secret_and_changes_no_right() -> None:
    [permission] = program("kubernetes")["hub-role"]["permissions"]
    assert permission["actions"] == [] and permission["dataActions"] == list(HUB_DATA_ACTIONS)
    assert program("kubernetes")["hub-role"]["assignableScopes"] == ["/id/group"]
    for action in HUB_DATA_ACTIONS:
        assert not any(word in action for word in ("secret", "rbac", "exec", "*"))


@pytest.mark.parametrize("orchestrator", BOTH)
def test_the_registry_knows_no_passwords(orchestrator: str) -> None:
    registry = program(orchestrator)["registry"]
    assert registry["adminUserEnabled"] is False and registry["anonymousPullEnabled"] is False
