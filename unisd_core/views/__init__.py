"""Views: the prompts under which student and teacher read the same completion."""
