"""Tests of one statement each."""
