"""ToolAlpaca (arXiv 2306.05301): calls of documented APIs, answered as ReAct lines."""
