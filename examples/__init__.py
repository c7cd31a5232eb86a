"""Runnable examples of ling_agent."""
