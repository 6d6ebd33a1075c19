"""Dedup decides who a submission is from: see README.md."""
