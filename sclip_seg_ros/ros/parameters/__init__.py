"""The node's parameters: declared, checked, and what is asked for beside what is in force."""
