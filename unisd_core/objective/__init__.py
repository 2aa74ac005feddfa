"""The objective: every term of the loss, with its own file."""
