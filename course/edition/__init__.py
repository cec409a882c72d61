"""The book without its solutions, as students of a course get it."""
