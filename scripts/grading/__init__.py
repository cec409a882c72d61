"""Grading a folder of submissions; the command is scripts/grade.py."""
