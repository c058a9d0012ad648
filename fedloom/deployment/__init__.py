"""Real servers: a coordinator's, a site's, and runs between them."""
