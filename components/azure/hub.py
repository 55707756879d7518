"""The hub VM: one machine with the hub's fixed address, a disk of its own for what must survive it, a public address.

Whatever cannot change on a running Azure VM (user-data, image, zone) replaces the machine: the old one is deleted first,
since both would have the same private address and the same disk. The disk (database, secrets, Docker's and the Swarm's
state) stands in the data group, protected; the next machine finds the hub as the last one left it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import compute, network

from components import cloud_init
from components.azure import machines
from components.azure.identities import Identity
from components.azure.network import public_ip
from components.azure.site import Site
from components.cloud_nodes import node_config
from components.cloud_sizes import HUB_ROOT_DISK_GIB, HUB_STATE_DISK_GIB, hub_size
from components.plan import Plan
from components.semester import Semester

STATE_DEVICE = "/dev/disk/azure/scsi1/lun0"
"""Where Azure's udev rules show the disk at LUN 0."""


@dataclass(frozen=True)
class HubArgs:
    site: Site
    group: pulumi.Input[str]
    data_group: pulumi.Input[str]
    semester: Semester
    plan: Plan
    subnet: pulumi.Input[str]
    identity: Identity
    secret_store: str
    homes: str
    bundle: str
    registry: str
    protect: bool
    after: Sequence[pulumi.Resource]
    """The machine's rights: without them its first minutes are in vain."""


class Hub(pulumi.ComponentResource):
    """``public_ip``: its address; ``vm_id``; ``disk_id``: its state's disk."""

    public_ip: pulumi.Output[str]
    vm_id: pulumi.Output[str]
    disk_id: pulumi.Output[str]

    def __init__(self, name: str, args: HubArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("semesterhub:azure:Hub", name, None, opts)
        self._args = args
        child = pulumi.ResourceOptions(parent=self)
        address = public_ip("hub-ip", args.site, args.group, "hub", child)
        card = self._card(address)
        disk = self._disk()
        machine = self._machine(card, disk)
        compute.VirtualMachineExtension(
            "hub-sign-in",
            vm_extension_name="sign-in",
            vm_name=machine.name,
            resource_group_name=args.group,
            location=args.site.region,
            publisher="Microsoft.Azure.ActiveDirectory",
            type="AADSSHLoginForLinux",
            type_handler_version="1.0",
            auto_upgrade_minor_version=True,
            suppress_failures=True,  # no way in for admins is no reason against the hub
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self, deleted_with=machine),
        )
        self.public_ip = address.ip_address.apply(lambda ip: ip or "")
        self.vm_id, self.disk_id = machine.id, disk.id
        self.register_outputs({"public_ip": self.public_ip, "vm_id": self.vm_id, "disk_id": self.disk_id})

    def _card(self, address: network.PublicIPAddress) -> network.NetworkInterface:
        args = self._args
        return network.NetworkInterface(
            "hub-nic",
            network_interface_name=args.site.name("hub"),
            resource_group_name=args.group,
            location=args.site.region,
            enable_accelerated_networking=True,
            enable_ip_forwarding=False,
            ip_configurations=[
                network.NetworkInterfaceIPConfigurationArgs(
                    name="primary",
                    primary=True,
                    private_ip_address_version="IPv4",
                    private_ip_allocation_method="Static",
                    private_ip_address=args.plan.hub_ip,
                    subnet=network.SubnetArgs(id=args.subnet),
                    public_ip_address=network.PublicIPAddressArgs(id=address.id),
                )
            ],
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _disk(self) -> compute.Disk:
        args = self._args
        return compute.Disk(
            "hub-state",
            disk_name=args.site.name("hub-state"),
            resource_group_name=args.data_group,
            location=args.site.region,
            zones=list(args.site.zones[:1]) or None,
            creation_data=compute.CreationDataArgs(create_option="Empty"),
            disk_size_gb=HUB_STATE_DISK_GIB,
            sku=compute.DiskSkuArgs(name="Premium_LRS"),
            encryption=compute.EncryptionArgs(type="EncryptionAtRestWithPlatformKey"),
            network_access_policy="DenyAll",
            public_network_access="Disabled",
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect),
        )

    def _machine(self, card: network.NetworkInterface, disk: compute.Disk) -> compute.VirtualMachine:
        args = self._args
        user_data = args.identity.client_id.apply(
            lambda client_id: cloud_init.encoded(
                cloud_init.user_data(
                    node_config(
                        args.semester,
                        args.plan,
                        "hub",
                        secret_store=args.secret_store,
                        homes=args.homes,
                        bundle=args.bundle,
                        registry=args.registry,
                        state_device=STATE_DEVICE,
                        identity_client_id=client_id,
                    )
                )
            )
        )
        return compute.VirtualMachine(
            "hub-vm",
            vm_name=args.site.name("hub"),
            resource_group_name=args.group,
            location=args.site.region,
            zones=list(args.site.zones[:1]) or None,
            hardware_profile=compute.HardwareProfileArgs(vm_size=hub_size(args.semester).name),
            # The extension for `az ssh` wants a system-assigned identity; it has no rights.
            identity=compute.VirtualMachineIdentityArgs(
                type=compute.ResourceIdentityType.SYSTEM_ASSIGNED_USER_ASSIGNED,
                user_assigned_identities=[args.identity.id],
            ),
            os_profile=compute.OSProfileArgs(
                computer_name="hub",
                admin_username=machines.ADMIN,
                custom_data=user_data,
                linux_configuration=machines.linux(),
            ),
            storage_profile=compute.StorageProfileArgs(
                image_reference=machines.image(),
                os_disk=compute.OSDiskArgs(
                    name=args.site.name("hub-os"),
                    create_option="FromImage",
                    caching=compute.CachingTypes.READ_WRITE,
                    disk_size_gb=HUB_ROOT_DISK_GIB,
                    delete_option="Delete",
                    managed_disk=compute.ManagedDiskParametersArgs(storage_account_type="Premium_LRS"),
                ),
                data_disks=[
                    compute.DataDiskArgs(
                        lun=0,
                        create_option="Attach",
                        # A database that thinks it has written has written.
                        caching=compute.CachingTypes.NONE,
                        delete_option="Detach",
                        managed_disk=compute.ManagedDiskParametersArgs(id=disk.id),
                    )
                ],
            ),
            network_profile=compute.NetworkProfileArgs(
                network_interfaces=[
                    compute.NetworkInterfaceReferenceArgs(id=card.id, primary=True, delete_option="Detach")
                ]
            ),
            security_profile=machines.security(),
            diagnostics_profile=machines.diagnostics(),
            tags=args.site.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=list(args.after),
                delete_before_replace=True,
                replace_on_changes=[
                    "osProfile",
                    "storageProfile.imageReference",
                    "storageProfile.osDisk.name",
                    "zones",
                ],
            ),
        )
