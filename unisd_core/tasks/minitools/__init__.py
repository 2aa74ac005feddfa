"""A generated tool-call task: invented tools, requests in words, one exact call each."""
