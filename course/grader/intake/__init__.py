"""What was handed in: found, read without trust, and put back into the form of its source."""
