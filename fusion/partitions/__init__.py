"""Label partitions: which modality is trained on which label.

A public file name in this folder is the word of a partition. Importing a word does not import
torch (only drawing owners does), so a planner can ask a word what it needs.
"""
