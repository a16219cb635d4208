"""Tests of kernel templates and schedule rules."""
