"""The provider `localcloud`: its resource types."""

from __future__ import annotations

from providers.base import Provider
from providers.localcloud.hub_deployment import HubDeploymentHandler
from providers.localcloud.image import ImageHandler
from providers.localcloud.machine import MachineHandler
from providers.localcloud.network import NetworkHandler
from providers.localcloud.password import PasswordHandler
from providers.localcloud.registry_image import RegistryImageHandler
from providers.localcloud.volume import VolumeHandler

PROVIDER = Provider(
    name="localcloud",
    version="1.0.0",
    handlers=(
        NetworkHandler(),
        VolumeHandler(),
        PasswordHandler(),
        ImageHandler(),
        RegistryImageHandler(),
        MachineHandler(),
        HubDeploymentHandler(),
    ),
)
