# Written by operations/fallback.py to .semesterhub/fallback/<stack>/fallback.tfvars.json. Nothing here is secret: secrets go to the
# machine over SSH's standard input and are in no variable, plan or state.

variable "stack" {
  description = "The semester: a file stacks/Pulumi.<stack>.yaml."
  type        = string
}

variable "machine" {
  description = "The bare-metal machine: any Debian or Ubuntu with SSH."
  type = object({
    host     = string
    port     = number
    user     = string
    host_key = string # public; a machine with another one is refused, not configured
    id       = string # made at the first contact and kept on its disk: an installation from scratch has another one
  })

  validation {
    condition     = var.machine.port > 0 && var.machine.port < 65536
    error_message = "machine.port: ${var.machine.port} is no port; allowed are 1 to 65535."
  }
}

variable "address" {
  description = "What the hub's name points to after a failover."
  type        = string
}

variable "hub_url" {
  description = "Where people reach the hub, on either site."
  type        = string
}

variable "files" {
  description = "Files that make the machine one of the semester: path -> SHA-256. The texts are beside the variables file."
  type        = map(string)
}

variable "images" {
  description = "The semester's images: name -> digest, the same bytes as in the cloud."
  type        = map(string)

  validation {
    condition     = alltrue([for digest in values(var.images) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "images: every image is pinned by digest (sha256:<64 hex digits>)."
  }
}

variable "secrets" {
  description = "Names of the hub's secrets. Their values never come near OpenTofu."
  type        = set(string)
}

variable "site" {
  description = "What runs on the machine: revision of its bundle, SHA-256 of the hub's settings."
  type = object({
    revision = string
    settings = string
  })
}

variable "peer_key" {
  description = "Public SSH key of the cloud's keeper, let in for the copying of homes and hub state alone; \"\" without a cloud."
  type        = string
}

variable "python" {
  description = "Python with the project's packages, which runs the steps."
  type        = string
}

variable "root" {
  description = "The checkout."
  type        = string
}
