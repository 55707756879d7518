output "host" {
  description = "The machine, for SSH."
  value       = var.machine.host
}

output "host_key" {
  description = "The key it is known by."
  value       = var.machine.host_key
}

output "address" {
  description = "What the hub's name points to after a failover."
  value       = var.address
}

output "hub_url" {
  description = "Where people reach the hub, on either site."
  value       = var.hub_url
}

output "images" {
  description = "Name -> digest."
  value       = var.images
}

output "revision" {
  description = "Of what runs on the machine."
  value       = var.site.revision
  depends_on  = [terraform_data.peer]
}
