"""The teacher's wing: the assignments, their release, the edition without solutions, the grader."""
