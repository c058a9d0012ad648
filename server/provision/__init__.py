"""What a coordinator makes for a federation: certificates, settings, the institutions' cards."""
