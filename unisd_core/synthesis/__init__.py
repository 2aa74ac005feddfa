"""Data synthesis: where prompts come from, what is done, what an output holds. Knows no Ray."""
