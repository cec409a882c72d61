"""Gradescope: its autograder's zips, what runs there, and the exports that it writes."""
