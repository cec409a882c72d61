"""Grading a folder of submissions: python -m course.grader."""
