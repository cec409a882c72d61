"""What several of the book's extensions need."""
