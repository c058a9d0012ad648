"""A site: the vault that answers queries, its record sources and its link to Flower."""
