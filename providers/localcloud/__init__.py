"""The local cloud: machines, networks, volumes and images as containers of this host's Docker."""
