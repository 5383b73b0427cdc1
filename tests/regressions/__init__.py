"""Every failure that was found once, kept as a test."""
