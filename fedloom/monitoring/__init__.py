"""What a site and a coordinator tell of themselves: metrics, and whether they are ready."""
