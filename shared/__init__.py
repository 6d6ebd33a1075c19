"""What the services have in common: contracts, delivery, storage, sealing, policy, access, telemetry, hosting."""
