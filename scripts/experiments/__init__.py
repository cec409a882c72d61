"""Trainings and measurements that take long, and whose results are committed."""
