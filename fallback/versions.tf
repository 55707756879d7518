# Nothing is downloaded: terraform_data and provisioners are built into OpenTofu, so the module works when no registry answers.
terraform {
  required_version = ">= 1.8.0"

  # The state lies on the admin's machine, one file a stack, and needs neither the cloud nor Pulumi's backend:
  # `tofu init -backend-config=path=…/.semesterhub/fallback/<stack>/terraform.tfstate`.
  backend "local" {}
}
