"""What carries requests to sites: Flower's Grid, and a Grid within this process."""
