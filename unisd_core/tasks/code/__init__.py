"""Python functions from a description, judged by running their tests: MBPP and HumanEval."""
