"""The AKS cluster: private, Entra ID only, pods in the VNet, two pools."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.azure.kubernetes import SERVICE_CIDRS, service_cidr
from components.cloud_nodes import STUDENT_LABEL, STUDENT_TAINT
from tests.components.azure.program import AUTHORITY, TENANT, program, run, semester

pytestmark = pytest.mark.unit


def test_the_api_is_private_and_lets_in_entra_identities_alone() -> None:
    cluster = program("kubernetes")["cluster"]
    api = cluster["apiServerAccessProfile"]
    assert api["enablePrivateCluster"] is True and api["enablePrivateClusterPublicFQDN"] is False
    assert cluster["disableLocalAccounts"] is True and cluster["enableRBAC"] is True
    assert cluster["aadProfile"] == {"managed": True, "enableAzureRBAC": True, "tenantID": TENANT}
    assert cluster["oidcIssuerProfile"]["enabled"] and cluster["securityProfile"]["workloadIdentity"]["enabled"]


def test_pods_have_addresses_of_the_vnet_and_rules_between_them() -> None:
    made = program("kubernetes")
    network = made["cluster"]["networkProfile"]
    assert (network["networkPlugin"], network["networkPolicy"], network["networkDataplane"]) == (
        "azure",
        "cilium",
        "cilium",
    )
    assert "networkPluginMode" not in network and network["outboundType"] == "userAssignedNATGateway"
    for pool in (made["cluster"]["agentPoolProfiles"][0], made["students"]):
        assert (pool["vnetSubnetID"], pool["podSubnetID"]) == ("/id/nodes-subnet", "/id/pods-subnet")
        assert pool["enableNodePublicIP"] is False and pool["enableEncryptionAtHost"] is True
        assert pool["availabilityZones"] == ["1", "2", "3"] and pool["tags"] == made["cluster"]["tags"]


def test_the_students_pool_grows_within_the_semesters_limits_and_takes_students_only() -> None:
    made = program("kubernetes")
    pool = made["students"]
    assert (pool["minCount"], pool["maxCount"], pool["enableAutoScaling"]) == (1, 24, True)
    assert pool["vmSize"] == "Standard_E16as_v5" and pool["maxPods"] == made.plan.workers.pods_per_node
    assert pool["nodeLabels"] == {STUDENT_LABEL[0]: STUDENT_LABEL[1]}
    assert pool["nodeTaints"] == [f"{STUDENT_TAINT[0]}={STUDENT_TAINT[1]}:NoSchedule"]
    assert made.resources["students"].request.ignoreChanges == ["count"]
    [system] = made["cluster"]["agentPoolProfiles"]
    assert (system["mode"], system["count"], system["nodeTaints"]) == (
        "System",
        2,
        ["CriticalAddonsOnly=true:NoSchedule"],
    )
    assert made.outputs["node_group"] == "students" and made.outputs["cluster"] == "semesterhub-fa26-azure-aks"


def test_kubelets_and_control_plane_have_identities_that_have_their_rights_before_the_cluster_is() -> None:
    made = program("kubernetes")
    cluster = made["cluster"]
    assert cluster["identity"]["userAssignedIdentities"] == ["/id/cluster-identity"]
    assert cluster["identityProfile"]["kubeletidentity"]["objectId"] == "principal-nodes-identity"
    assert {
        "cluster-joins-nodes-subnet",
        "cluster-joins-pods-subnet",
        "cluster-uses-kubelet-identity",
    } <= made.waits_at_last_for("cluster")


def test_the_hub_learns_where_the_api_is_and_whom_to_believe() -> None:
    text = program("kubernetes").resources["bundle"].request.object["source"]["text"]
    settings = json.loads(json.loads(text)["settings"])
    told = settings["kubernetes"]
    assert settings["orchestrator"] == "kubernetes" and told["identity_client_id"] == "client-hub-identity"
    assert told["api_url"] == "https://aks.private.westus2.azmk8s.io:443" and told["ca_certificate"] == AUTHORITY
    assert told["homes"]["driver"] == "file.csi.azure.com"
    assert told["homes"]["attributes"]["storageAccount"] == program("kubernetes")["homes-account"]["accountName"]


def test_upgrades_wait_for_sunday_night_of_the_term() -> None:
    made = program("kubernetes")
    windows = made.of_kind("containerservice.MaintenanceConfiguration")
    assert {w["configName"] for w in windows.values()} == {
        "aksManagedAutoUpgradeSchedule",
        "aksManagedNodeOSUpgradeSchedule",
    }
    for window in windows.values():
        rule = window["maintenanceWindow"]
        assert rule["schedule"]["weekly"]["dayOfWeek"] == "Sunday" and rule["utcOffset"] == "-07:00"


@given(st.integers(0, 255), st.integers(16, 24))
def test_services_never_overlap_the_vnet_or_the_hubs_containers(third: int, prefix: int) -> None:
    network = IPv4Network((f"10.{third}.0.0", prefix), strict=False)
    given_semester = semester("fa26-azure", network={"cidr": str(network)})
    found = service_cidr(given_semester)
    assert (
        found in SERVICE_CIDRS
        and not found.overlaps(network)
        and not found.overlaps(given_semester.network.bridge_cidr)
    )


def test_the_services_move_away_from_a_vnet_that_is_in_their_way() -> None:
    made = run(semester("fa26-azure", network={"cidr": "172.31.0.0/16"}), stack="fa26-azure")
    assert made["cluster"]["networkProfile"]["serviceCidr"] == "192.168.240.0/20"
    assert made["cluster"]["networkProfile"]["dnsServiceIP"] == "192.168.240.10"


def test_a_swarm_has_no_cluster_and_a_cluster_no_scale_set() -> None:
    assert not program("swarm").of_kind("containerservice.ManagedCluster")
    assert not program("kubernetes").of_kind("compute.VirtualMachineScaleSet")
    assert not program("kubernetes").of_kind("monitor.AutoscaleSetting")
