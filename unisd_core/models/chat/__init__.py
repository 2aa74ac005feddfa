"""Conversations as token ids: the chat template, and rows as plain text within it."""
