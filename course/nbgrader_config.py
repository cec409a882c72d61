"""nbgrader's settings for the assignments; make release and make grade read them too."""

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "ddim-book"
# Backups of editors, and what tests or a run beside the sources leave behind.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache"]
c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("your answer here")'}
