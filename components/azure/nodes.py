"""Swarm workers: a scale set of equal machines without public addresses, sized by the calendar.

Uniform orchestration, on purpose: every worker is the same model, `overprovision` can be off (a worker that is made and
thrown away would join the Swarm), the upgrade policy is manual (a new model changes workers at their replacement, not
under a running class), and scale-in keeps the zones balanced. Flexible sets are for mixed machines and give none of it.

A worker that Azure takes away hears of it `NOTICE_MIN` to `NOTICE_MAX` minutes before (terminate notification, read from
the scheduled events by the node's agent, which drains it and says when it is done). Azure waits 15 minutes at most:
`nodes.drain_timeout_s` beyond that is shortened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import compute as azure

from components import cloud_init
from components.azure import machines
from components.azure.identities import Identity
from components.azure.site import Site
from components.cloud_nodes import node_config
from components.cloud_sizes import WORKER_DISK_GIB
from components.plan import Plan
from components.semester import Semester

NOTICE_MIN, NOTICE_MAX = 5, 15
"""Minutes, by Azure ("Terminate notification for Virtual Machine Scale Set instances")."""
SINGLE_GROUP_MAX = 100
"""A scale set in one placement group holds at most 100 machines."""


@dataclass(frozen=True)
class NodeGroupArgs:
    site: Site
    group: pulumi.Input[str]
    semester: Semester
    plan: Plan
    subnet: pulumi.Input[str]
    identity: Identity
    secret_store: str
    homes: str
    bundle: str
    registry: str
    base_nodes: int
    """How many there are before the calendar's first word."""
    after: Sequence[pulumi.Resource]
    """Rights, and the hub VM that they join."""


def notice_minutes(drain_timeout_s: int) -> int:
    """Minutes of warning before a worker goes: its draining time and one minute to leave the Swarm, within Azure's limits."""
    return min(max(math.ceil((drain_timeout_s + 60) / 60), NOTICE_MIN), NOTICE_MAX)


class NodeGroup(pulumi.ComponentResource):
    """``scale_set_id`` and ``scale_set_name``."""

    scale_set_id: pulumi.Output[str]
    scale_set_name: pulumi.Output[str]

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:NodeGroup", name, None, opts)
        self._args = args
        site = args.site
        workers = azure.VirtualMachineScaleSet(
            "workers",
            vm_scale_set_name=site.name("workers"),
            resource_group_name=args.group,
            location=site.region,
            zones=list(site.zones) or None,
            sku=azure.SkuArgs(name=args.plan.workers.instance_type, tier="Standard", capacity=float(args.base_nodes)),
            orchestration_mode=azure.OrchestrationMode.UNIFORM,
            overprovision=False,
            single_placement_group=args.semester.nodes.max <= SINGLE_GROUP_MAX,
            platform_fault_domain_count=1 if site.zones else 5,
            upgrade_policy=azure.UpgradePolicyArgs(mode=azure.UpgradeMode.MANUAL),
            scale_in_policy=azure.ScaleInPolicyArgs(rules=["Default"], force_deletion=False),
            # The extension for `az ssh` wants a system-assigned identity; it has no rights.
            identity=azure.VirtualMachineScaleSetIdentityArgs(
                type=azure.ResourceIdentityType.SYSTEM_ASSIGNED_USER_ASSIGNED,
                user_assigned_identities=[args.identity.id],
            ),
            virtual_machine_profile=self._model(),
            tags=site.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                # The number of machines is the calendar's once they exist.
                ignore_changes=["sku.capacity"],
            ),
        )
        self.scale_set_id, self.scale_set_name = workers.id, workers.name
        self.register_outputs({"scale_set_id": self.scale_set_id})

    def _model(self) -> azure.VirtualMachineScaleSetVMProfileArgs:
        args = self._args
        user_data = args.identity.client_id.apply(
            lambda client_id: cloud_init.encoded(
                cloud_init.user_data(
                    node_config(
                        args.semester,
                        args.plan,
                        "worker",
                        secret_store=args.secret_store,
                        homes=args.homes,
                        bundle=args.bundle,
                        registry=args.registry,
                        identity_client_id=client_id,
                        node_group=args.site.name("workers"),
                    )
                )
            )
        )
        return azure.VirtualMachineScaleSetVMProfileArgs(
            os_profile=azure.VirtualMachineScaleSetOSProfileArgs(
                computer_name_prefix="worker-",
                admin_username=machines.ADMIN,
                custom_data=user_data,
                linux_configuration=machines.linux(),
            ),
            storage_profile=azure.VirtualMachineScaleSetStorageProfileArgs(
                image_reference=machines.image(),
                os_disk=azure.VirtualMachineScaleSetOSDiskArgs(
                    create_option="FromImage",
                    caching=azure.CachingTypes.READ_WRITE,
                    disk_size_gb=WORKER_DISK_GIB,
                    delete_option="Delete",
                    managed_disk=azure.VirtualMachineScaleSetManagedDiskParametersArgs(
                        storage_account_type="Premium_LRS"
                    ),
                ),
            ),
            network_profile=azure.VirtualMachineScaleSetNetworkProfileArgs(
                network_interface_configurations=[
                    azure.VirtualMachineScaleSetNetworkConfigurationArgs(
                        name="primary",
                        primary=True,
                        enable_accelerated_networking=True,
                        enable_ip_forwarding=False,
                        ip_configurations=[
                            azure.VirtualMachineScaleSetIPConfigurationArgs(
                                name="primary",
                                primary=True,
                                private_ip_address_version="IPv4",
                                subnet=azure.ApiEntityReferenceArgs(id=args.subnet),
                            )
                        ],
                    )
                ]
            ),
            security_profile=machines.security(),
            diagnostics_profile=machines.diagnostics(),
            scheduled_events_profile=azure.ScheduledEventsProfileArgs(
                terminate_notification_profile=azure.TerminateNotificationProfileArgs(
                    enable=True, not_before_timeout=f"PT{notice_minutes(args.semester.nodes.drain_timeout_s)}M"
                )
            ),
            extension_profile=azure.VirtualMachineScaleSetExtensionProfileArgs(
                extensions=[
                    azure.VirtualMachineScaleSetExtensionArgs(
                        name="sign-in",
                        publisher="Microsoft.Azure.ActiveDirectory",
                        type="AADSSHLoginForLinux",
                        type_handler_version="1.0",
                        auto_upgrade_minor_version=True,
                        suppress_failures=True,  # no way in for admins is no reason against a worker
                    )
                ]
            ),
        )
