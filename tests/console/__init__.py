"""Tests of the console process and the user library of the target, compiled for the host; no target is needed."""
