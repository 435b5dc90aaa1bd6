"""The deep look: each layer of an image's own Dockerfile, read once as a stream, of which nothing is kept."""
