"""The protocol between a site's ClientApp and its vault, generated from `vault.proto`."""
