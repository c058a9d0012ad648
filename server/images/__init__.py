"""What the coordinator makes of noisy sums over images: the next request, and the generator."""
