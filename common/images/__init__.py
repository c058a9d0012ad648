"""What a site and a coordinator agree on about images: shape, coordinates, frame and tone."""
