"""What the pages serve: pictures, other projects' scripts, the network as a file."""
