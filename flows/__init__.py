"""What runs when: Prefect's deployments, one file each, and the packages that they use."""
