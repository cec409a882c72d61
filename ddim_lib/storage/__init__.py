"""The disk: files that are whole, tensors with a header, where folders lie, what is fetched."""
