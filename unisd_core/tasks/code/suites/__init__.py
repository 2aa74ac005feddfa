"""Tests of a row in the forms that data sets have, collected and run in the sandbox."""
