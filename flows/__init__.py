"""What runs when: Prefect's deployments, one file each, and the rooms that they use."""
