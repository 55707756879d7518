# A standby site on bare metal: any reachable Debian or Ubuntu machine becomes Docker, a Swarm of one node, the semester's images by
# digest, its hub bundle and its keeper.
#
# Each resource is one step, replaced when what goes into it changes; the steps are safe to repeat. They are commands of the project
# (operations/fallback_step.py) and not `remote-exec`: one SSH client with one list of host keys, the admin's agent, sudo where
# the user is not root, and errors that say what to do.

locals {
  step = "'${var.python}' -m operations.fallback_step '${var.stack}'"
}

# First made, last destroyed: what it takes away is all that the others brought. Students' files stay.
resource "terraform_data" "presence" {
  input = {
    command = "${local.step} teardown"
    root    = var.root
    host    = var.machine.host
  }

  provisioner "local-exec" {
    when        = destroy
    command     = self.input.command
    working_dir = self.input.root
  }
}

# The node agent and its unit, Docker, the packet filter, the registry, the Swarm.
resource "terraform_data" "machine" {
  triggers_replace = {
    machine = var.machine
    files   = var.files
  }
  depends_on = [terraform_data.presence]

  provisioner "local-exec" {
    command     = "${local.step} machine"
    working_dir = var.root
  }
}

# The same bytes as in the cloud, through an SSH tunnel into the machine's own registry; what is there is not sent again.
resource "terraform_data" "images" {
  triggers_replace = {
    machine = terraform_data.machine.id
    images  = var.images
  }

  provisioner "local-exec" {
    command     = "${local.step} images"
    working_dir = var.root
  }
}

# A student's login survives the move: cookie secret, crypt keys and the rest, from the active site.
resource "terraform_data" "secrets" {
  triggers_replace = {
    machine = terraform_data.machine.id
    names   = var.secrets
  }

  provisioner "local-exec" {
    command     = "${local.step} secrets"
    working_dir = var.root
  }
}

# Keeper, hub, proxy and edge. As a standby the hub waits at its gate.
resource "terraform_data" "site" {
  triggers_replace = {
    site    = var.site
    images  = terraform_data.images.id
    secrets = terraform_data.secrets.id
  }

  provisioner "local-exec" {
    command     = "${local.step} site"
    working_dir = var.root
  }
}

# The cloud's keeper gets in for copying, and knows the machine by its host key.
resource "terraform_data" "peer" {
  triggers_replace = {
    site = terraform_data.site.id
    key  = var.peer_key
  }

  provisioner "local-exec" {
    command     = "${local.step} peer"
    working_dir = var.root
  }
}
