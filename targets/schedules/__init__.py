"""Kernel templates and schedule rules, one topic a file."""
